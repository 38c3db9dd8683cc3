"""What can go wrong with a request; `service.http.problem_json` turns it into an answer."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import ClassVar

from ml.errors import Invalid, Loc


class Problem(Exception):
    """Something the caller is told, with the status code that says what kind of thing."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, detail: str, errors: Sequence[tuple[Loc, str]] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors


class BadRequest(Problem):
    """The request is not in the form that it should have."""

    status = HTTPStatus.BAD_REQUEST


class NotFound(Problem):
    """There is no such thing."""

    status = HTTPStatus.NOT_FOUND


class Conflict(Problem):
    """The thing is in a state that does not allow this."""

    status = HTTPStatus.CONFLICT


class Unloaded(Conflict):
    """The model was unloaded, and answers when it is loaded again."""


class PreconditionFailed(Problem):
    """The thing is not in the state that the request demands of it."""

    status = HTTPStatus.PRECONDITION_FAILED


class TooLarge(Problem):
    """The body is over a limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedMediaType(Problem):
    """The body is of a kind that is not taken here."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class Unprocessable(Problem):
    """The request is well formed, but a value in it is wrong."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY

    @classmethod
    def at(cls, error: Invalid, *prefix: str | int) -> "Unprocessable":
        """Say what `ml` found wrong, at its place in the request."""
        loc = (*prefix, *error.loc)
        return cls(f"{'.'.join(map(str, loc))}: {error.msg}", [(loc, error.msg)])


class Unavailable(Problem):
    """The service cannot do this at present."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class Overloaded(Unavailable):
    """Too much waits already; it is worth trying again a little later."""

    headers: ClassVar = {"Retry-After": "1"}


class ClientGone(Exception):
    """Nobody waits for the answer any more, so that there is none."""


class DeadlineExceeded(Problem):
    """The answer did not come in the time there was for it."""

    status = HTTPStatus.GATEWAY_TIMEOUT
