"""Schemas of keys, sessions and the audit log."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, PlainSerializer, SecretStr, WithJsonSchema

from ml.names import NAME_IN_WORDS, Name, matching
from ml.strict import Strict
from service.access.caller import Role
from service.schemas import Body

MAX_PATTERNS = 20
MAX_DAYS = 36_500
MAX_PUPILS = 999
PATTERN = "[A-Za-z0-9*?][A-Za-z0-9._*?-]{0,63}"
PATTERN_IN_WORDS = f"like a name, which has {NAME_IN_WORDS}; it may have * and ? too"
Pattern = Annotated[
    str,
    AfterValidator(matching(PATTERN, PATTERN_IN_WORDS)),
    WithJsonSchema({"type": "string", "pattern": f"^{PATTERN}$"}),
]


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
        description="Names of the models that the key may use, with `*` for any characters and `?` "
        "for one; empty for all models.",
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


def _with_milliseconds(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[
    datetime,
    PlainSerializer(_with_milliseconds, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]


class AuditEntry(Body):
    """A line of the audit log: somebody changed something, or tried to."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "time": "2026-03-02T09:41:07.214Z",
                    "request_id": "8c1f0a2be7d4-1f3",
                    "key_id": "key_01JD3V0M8Q6W4N2X7Y9Z5K1T3B",
                    "key": "anna",
                    "owner": "anna",
                    "address": "192.0.2.7",
                    "method": "POST",
                    "action": "POST /jobs/{job_id}/cancel",
                    "kind": "job",
                    "object": "job_01JD3V0M8Q6W4N2X7Y9Z5K1T3C",
                    "status": 202,
                }
            ]
        }
    )

    time: Moment = Field(description="Time of the response.")
    request_id: str | None = Field(default=None, description="`X-Request-ID` of the response.")
    key_id: str | None = Field(
        default=None, description="Key of the sender; null if it showed none that is valid."
    )
    key: str | None = Field(default=None, description="Name of the key.")
    owner: str | None = Field(default=None, description="Owner for whom the key stands.")
    user: str | None = Field(
        default=None, description="User of the machine who ran a command; null for a request."
    )
    address: str | None = Field(
        default=None, description="Address of the sender; `cli` for a command."
    )
    method: str | None = Field(default=None, description="Method; null for a command.")
    action: str = Field(
        description="Route, such as `POST /jobs/{job_id}/cancel`, or command, such as "
        "`epochd keys add`; of a request for no route, its method and `-`."
    )
    kind: str | None = Field(
        default=None, description="Kind of the object: job, dataset, model, key, session or class."
    )
    object: str | None = Field(
        default=None,
        description="Object that the action made, changed or deleted: an id, the name of a key, or "
        "of a model with its version or alias, such as `mnist@3`.",
    )
    status: int | None = Field(
        default=None, description="Status of the response; null for a command, which succeeded."
    )
    omitted: int | None = Field(
        default=None,
        description="Refused requests of senders without a valid key that have no line of their "
        "own, because there were too many of them before this one.",
    )
