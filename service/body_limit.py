"""No request body is longer than the operator allows."""

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import TooLarge, refusal


class BodyLimit:
    """ASGI middleware: refuses a body over `limit` bytes, before reading it where it is announced.

    A body that is sent without a length is counted as it is read.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, its body counted, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > self.limit:
            response = await refusal(Request(scope), TooLarge(self._message()))
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.limit:
                # Not a `Problem`: FastAPI lets only its own exception through while it reads.
                raise HTTPException(TooLarge.status, self._message())
            return message

        await self.app(scope, counted, send)

    def _message(self) -> str:
        return f"the body is over the limit of {self.limit:,} bytes"
