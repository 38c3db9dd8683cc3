"""Keys, sessions, and the state of the service."""

from datetime import datetime

from pydantic import Field

from epochd.schemas.base import Schema


class Me(Schema):
    """The sender of the requests."""

    keys: bool
    owner: str | None
    role: str
    key: str | None
    session: str | None
    models: list[str]
    sees_all: bool
    expires_at: datetime | None


class Key(Schema):
    """A key, without its secret."""

    id: str
    name: str
    owner: str
    role: str
    models: list[str]
    class_name: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewKey(Key):
    """A key with its secret, which the service shows only once."""

    secret: str = Field(repr=False)


class Session(Schema):
    """A browser that is signed in."""

    id: str
    key: str
    address: str
    browser: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    current: bool


class AuditEntry(Schema):
    """A line of the audit log: somebody changed something, or tried to."""

    time: datetime
    request_id: str | None = None
    key_id: str | None = None
    key: str | None = None
    owner: str | None = None
    user: str | None = None
    address: str | None = None
    method: str | None = None
    action: str
    kind: str | None = None
    object: str | None = None
    status: int | None = None
    omitted: int | None = None


class Health(Schema):
    """Response of the liveness probe."""

    status: str


class Readiness(Schema):
    """Response of the readiness probe."""

    status: str
    warnings: list[str]
