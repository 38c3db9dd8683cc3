"""Schemas of keys and sessions."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from ml.names import Name
from ml.strict import Strict
from service.access.caller import Role
from service.schemas import Body

MAX_PATTERNS = 20
MAX_DAYS = 36_500
MAX_PUPILS = 999
Pattern = Annotated[str, Field(min_length=1, max_length=64)]


class KeyRequest(Strict):
    """A key to add."""

    name: Name = Field(description="Name of the key, by which it is rotated and revoked.")
    role: Annotated[Role, Field(strict=False)] = Field(
        default=Role.MEMBER, description="What the key is for."
    )
    owner: Name | None = Field(
        default=None,
        description="Owner of what the bearer makes; by default the name of the key.",
    )
    models: list[Pattern] = Field(
        default=[],
        max_length=MAX_PATTERNS,
        description="Names of the models that the key may use, with `*` for any characters; empty "
        "for all models.",
        examples=[["mnist*"]],
    )
    expires_days: float | None = Field(
        default=None, gt=0, le=MAX_DAYS, description="Days until the key expires; null for never."
    )

    @property
    def expires_at(self) -> datetime | None:
        if self.expires_days is None:
            return None
        return datetime.now(UTC) + timedelta(days=self.expires_days)


class ClassRequest(Strict):
    """A class, whose pupils get a key each."""

    name: Annotated[Name, Field(max_length=60)] = Field(
        description="Name of the class, with which the names of the pupils' keys begin."
    )
    pupils: int = Field(ge=1, le=MAX_PUPILS, description="Number of pupils.")
    expires_days: float | None = Field(
        default=None, gt=0, le=MAX_DAYS, description="Days until the keys expire; null for never."
    )

    def keys(self) -> list[KeyRequest]:
        """Return the keys of the pupils, numbered."""
        width = max(2, len(str(self.pupils)))
        return [
            KeyRequest(name=f"{self.name}-{number:0{width}}", expires_days=self.expires_days)
            for number in range(1, self.pupils + 1)
        ]


class Key(Body):
    """A key, without its secret."""

    id: str
    name: str
    owner: str
    role: Role
    models: list[str]
    class_name: str | None = Field(description="Class whose pupil the owner is.")
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(
        description="Time of the last request with the key, to about a minute."
    )
    revoked_at: datetime | None


class NewKey(Key):
    """A key with its secret, which is shown only once."""

    secret: str = Field(
        description="What the bearer sends: `Authorization: Bearer <secret>`. It is not stored."
    )


def _plain(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().strip():
        raise ValueError("must be a key or a sign-in code")
    return secret


class SignIn(Strict):
    """A key or a sign-in code, for a browser."""

    key: Annotated[SecretStr, Field(max_length=200), AfterValidator(_plain)] = Field(
        description="Key (`epd_…`) or sign-in code.", examples=["k3fq-9xtm-2hvw"]
    )


class Session(Body):
    """A browser that is signed in."""

    id: str
    key: str = Field(description="Name of the key with which it signed in.")
    address: str
    browser: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    current: bool = Field(description="Whether the request came from this session.")


class Me(Body):
    """The sender of the request."""

    keys: bool = Field(description="Whether the service needs keys.")
    owner: str | None = Field(description="Owner of what the sender makes; null without keys.")
    role: Role
    key: str | None = Field(description="Name of the key.")
    session: str | None = Field(description="Session of the browser, if it is signed in.")
    models: list[str] = Field(description="Models that the key is for; empty for all.")
    sees_all: bool = Field(description="Whether the sender may see what others own.")
    expires_at: datetime | None = Field(description="Time at which the key or session expires.")
