"""Errors of a request, with their status codes; `service.http.problem_json` renders them."""

from collections.abc import Sequence
from http import HTTPStatus
from math import ceil
from typing import ClassVar

from ml.errors import Invalid, Loc, shortened


class Problem(Exception):
    """An error reported to the client, with its status code."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    type: ClassVar[str | None] = None
    """Type of the problem within `urn:epochd:`; by default the name of its status."""
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, detail: str, errors: Sequence[tuple[Loc, str]] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors

    def response_headers(self) -> dict[str, str]:
        """Return the headers of the response."""
        return dict(self.headers)


class BadRequest(Problem):
    """The request is malformed."""

    status = HTTPStatus.BAD_REQUEST


class Unauthorized(Problem):
    """The service needs a key, and the request has none that it knows."""

    status = HTTPStatus.UNAUTHORIZED
    headers: ClassVar = {"WWW-Authenticate": 'Bearer realm="epochd"'}


class Forbidden(Problem):
    """The role of the key does not allow the request, or the object belongs to somebody else."""

    status = HTTPStatus.FORBIDDEN


class NotFound(Problem):
    """The resource does not exist."""

    status = HTTPStatus.NOT_FOUND


class Conflict(Problem):
    """The resource's current state does not allow this operation."""

    status = HTTPStatus.CONFLICT


class Unloaded(Conflict):
    """The model is unloaded; load it to make predictions again."""


class PreconditionFailed(Problem):
    """A precondition header (`If-Match`, `If-None-Match`) does not hold."""

    status = HTTPStatus.PRECONDITION_FAILED


class TooLarge(Problem):
    """The request exceeds a size limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class BodyTooLarge(TooLarge):
    """The body exceeds its limit. The connection is closed, since its rest is not read."""

    headers: ClassVar[dict[str, str]] = {"Connection": "close"}


class HeadTooLarge(Problem):
    """The head of the request exceeds 16 KiB or 100 fields. The connection is closed."""

    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class UnsupportedMediaType(Problem):
    """The content type of the body is not supported."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class Unprocessable(Problem):
    """The request is well formed, but one of its values is invalid."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY

    @classmethod
    def at(cls, error: Invalid, *prefix: str | int) -> "Unprocessable":
        """Return an error of `ml` with its location in the request."""
        loc = shortened((*prefix, *error.loc))
        return cls(f"{'.'.join(map(str, loc))}: {error.msg}", [(loc, error.msg)])


class TooManyRequests(Problem):
    """Too many requests of this kind came in a short time; retry after the delay in
    `Retry-After`."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    headers: ClassVar = {"Retry-After": "60"}


class QueueFull(Problem):
    """As many jobs are queued as the operator allows; retry when some have started."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    headers: ClassVar = {"Retry-After": "10"}


class QuotaExceeded(Problem):
    """A quota of the key's owner or of its role is used up; `detail` says which, what is used, and
    when it frees (`urn:epochd:quota`)."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    type = "quota"
    headers: ClassVar = {"Retry-After": "seconds"}

    def __init__(self, detail: str, retry_after: float) -> None:
        """`retry_after` is the time in seconds after which the quota may have freed."""
        super().__init__(detail)
        self.retry_after = retry_after

    def response_headers(self) -> dict[str, str]:
        return {"Retry-After": str(max(1, ceil(self.retry_after)))}


class InsufficientStorage(Problem):
    """The disk, or the operator's limit on its use, leaves no room."""

    status = HTTPStatus.INSUFFICIENT_STORAGE


class Unavailable(Problem):
    """The service cannot handle the request at present."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class Overloaded(Unavailable):
    """A queue is full; retry after the delay in `Retry-After`."""

    headers: ClassVar = {"Retry-After": "1"}


class FilesDamaged(Unavailable):
    """The stored files of a model version or of a data set are missing or damaged; `detail` names
    them and the remedy (`urn:epochd:damaged`)."""

    type = "damaged"


class ReaderFailed(Unavailable):
    """The process that reads uploads died or could not start; send the file again later."""

    headers: ClassVar = {"Retry-After": "10"}


class ClientGone(Exception):
    """The client disconnected; no response is sent."""


class DeadlineExceeded(Problem):
    """The request missed its deadline."""

    status = HTTPStatus.GATEWAY_TIMEOUT


class KeyNeeded(Exception):
    """The service cannot start without a key; the message says why, and what to do."""


class DatabaseUnusable(Exception):
    """The service cannot start on its database; the message says why, and what to do."""
