"""Size limits for request bodies."""

from collections.abc import Mapping

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLarge, ClientGone
from service.http.problem_json import refusal


class BodyLimit:
    """ASGI middleware that rejects bodies over `limit` bytes; `path_limits` overrides the limit
    for a path.

    A body with a Content-Length is rejected before it is read; any other is counted as it is read.
    """

    def __init__(self, app: ASGIApp, limit: int, path_limits: Mapping[str, int]) -> None:
        self.app = app
        self.limit = limit
        self.path_limits = path_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.path_limits.get(scope["path"], self.limit)
        try:
            _check_announced(scope, limit)
        except BodyTooLarge as error:
            response = await refusal(Request(scope), error)
            await response(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                # Not a `Problem`: while reading the body, FastAPI passes on only its own exception.
                error = too_large(limit)
                raise HTTPException(error.status, error.detail, error.headers)
            return message

        await self.app(scope, counted, send)


async def read_chunks(scope: Scope, receive: Receive, limit: int) -> list[bytes]:
    """Return a request's body as it is received, in chunks.

    Raises:
        BodyTooLarge: the body exceeds `limit` bytes; with a Content-Length, it is not read.
        ClientGone: the client disconnected.
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
            return chunks


def joined(chunks: list[bytes]) -> bytes:
    """Return the body and empty the list of its chunks. For a large body, call it in a thread: it
    copies more than 1 MiB without the interpreter's lock."""
    body = b"".join(chunks)
    chunks.clear()
    return body


def _check_announced(scope: Scope, limit: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > limit):
            raise too_large(limit)


def too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body exceeds the limit of {limit:,} bytes")
