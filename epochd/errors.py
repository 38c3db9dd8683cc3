"""Errors between a caller and the service: one tree of exceptions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, ClassVar

Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """One fault of a request."""

    loc: Loc
    """Where it is, such as `("body", "epochs")`."""
    msg: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.loc))}: {self.msg}"


class EpochdError(Exception):
    """The base of every error that the client raises of its own."""


class ServiceNotReached(EpochdError):
    """No service answered: it is not running, its address is wrong, or the connection broke."""


class UnexpectedAnswer(EpochdError):
    """The answer is not one of epochd: another program listens at this address."""


class TimedOut(EpochdError, TimeoutError):
    """The job did not end within the time that the caller gave it."""


class ApiError(EpochdError):
    """The service refused a request, and says why (RFC 9457)."""

    status_code: ClassVar[int | None] = None
    """Status that this class stands for."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        type: str = "about:blank",
        errors: tuple[Fault, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.type = type
        self.errors = errors
        """Faults by place. Most requests have one, which `detail` repeats."""
        self.retry_after = retry_after
        """Seconds after which the request may succeed, if the service says so."""
        super().__init__(f"{status} {title}: {self._text()}")

    def _text(self) -> str:
        if len(self.errors) < 2:
            return self.detail
        return "".join(f"\n  {fault}" for fault in self.errors)


class BadRequest(ApiError):
    """The request is malformed."""

    status_code = 400


class Unauthorized(ApiError):
    """The service needs a key: pass `key`, or set EPOCHD_KEY."""

    status_code = 401


class Forbidden(ApiError):
    """The role of the key does not allow the request, or the object belongs to somebody else."""

    status_code = 403


class NotFound(ApiError):
    """The object does not exist."""

    status_code = 404


class Conflict(ApiError):
    """The state of the object does not allow the request."""

    status_code = 409


class PreconditionFailed(ApiError):
    """The alias has changed meanwhile (`if_match`), or exists already (`if_none_match`)."""

    status_code = 412


class TooLarge(ApiError):
    """The request exceeds a limit of the service."""

    status_code = 413


class UnsupportedMediaType(ApiError):
    """The service does not read this kind of content."""

    status_code = 415


class Invalid(ApiError):
    """A value of the request is invalid; `errors` says which, and what would be right."""

    status_code = 422


class TooManyRequests(ApiError):
    """The queue is full, or too many requests came; try again after `retry_after` seconds."""

    status_code = 429


class Unavailable(ApiError):
    """The service cannot do this at present."""

    status_code = 503


class Damaged(Unavailable):
    """Stored files of the model or data set are missing or damaged; `detail` names the remedy."""


class DeadlineExceeded(ApiError):
    """The request took longer than the service allows."""

    status_code = 504


class InsufficientStorage(ApiError):
    """The disk of the service, or the limit on its use, leaves no room."""

    status_code = 507


DAMAGED = "urn:epochd:damaged"
BY_STATUS: Mapping[int, type[ApiError]] = {
    kind.status_code: kind for kind in ApiError.__subclasses__() if kind.status_code is not None
}


def api_error(status: int, document: object, retry_after: str | None = None) -> ApiError:
    """Return the error for a problem document, or for whatever else came with this status."""
    fields = document if isinstance(document, dict) else {}
    type_ = str(fields.get("type", "about:blank"))
    kind = Damaged if type_ == DAMAGED else BY_STATUS.get(status, ApiError)
    detail = fields.get("detail", fields.get("error"))  # `error`: the inference protocol's
    return kind(
        status,
        str(fields.get("title") or _phrase(status)),
        str(detail) if detail else "the answer does not say why",
        type=type_,
        errors=tuple(_faults(fields.get("errors"))),
        retry_after=seconds_of(retry_after),
    )


def seconds_of(retry_after: str | None) -> float | None:
    """Return the seconds of a `Retry-After`, which may be a date; None if there is none."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _faults(listed: Any) -> list[Fault]:
    return [
        Fault(tuple(fault["loc"]), str(fault["msg"]))
        for fault in listed or []
        if isinstance(fault, dict) and isinstance(fault.get("loc"), list) and "msg" in fault
    ]
