"""No request body is longer than the operator allows."""

from collections.abc import Mapping

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ClientGone, TooLarge
from service.http.problem_json import refusal


class BodyLimit:
    """ASGI middleware: refuses a body over `limit` bytes, before reading it where it is announced.
    Paths may have limits of their own.

    A body that is sent without a length is counted as it is read.
    """

    def __init__(self, app: ASGIApp, limit: int, path_limits: Mapping[str, int]) -> None:
        self.app = app
        self.limit = limit
        self.path_limits = path_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, its body counted, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.path_limits.get(scope["path"], self.limit)
        try:
            _check_announced(scope, limit)
        except TooLarge as error:
            response = await refusal(Request(scope), error)
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                # Not a `Problem`: FastAPI lets only its own exception through while it reads.
                raise HTTPException(TooLarge.status, too_large(limit).detail)
            return message

        await self.app(scope, counted, send)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Return a request's body.

    Raises:
        TooLarge: it has more than `limit` bytes; where that is announced, none is read.
        ClientGone: it broke off.
    """
    _check_announced(scope, limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise too_large(limit)
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _check_announced(scope: Scope, limit: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > limit):
            raise too_large(limit)


def too_large(limit: int) -> TooLarge:
    """Return what to say of a body over `limit` bytes."""
    return TooLarge(f"the body is over the limit of {limit:,} bytes")
