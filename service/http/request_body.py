"""Request bodies as the routes read them: decompressed, without a byte-order mark, and counted."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import UnsupportedMediaType
from service.http.body_budget import BodyBudget
from service.http.problem_json import refusal

InThread = Callable[[Callable[[], bytes]], Awaitable[bytes]]
"""Function that returns the result of another, which runs in a thread."""

WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""zlib's `wbits` for each content encoding."""
CHUNK_BYTES = 256 * 1024
"""Bytes decompressed at a time; between two chunks, other requests have their turn."""
BOM = b"\xef\xbb\xbf"
MAX_SMALL_MEMBERS = 1000
MEMBER_BYTES = 1024
"""Least average size of a gzip file's members, from `MAX_SMALL_MEMBERS` on: each costs a new
decompressor and a copy of what follows."""
SPOOLED_BYTES = 1024 * 1024
"""Bytes in memory of a body that is written to disk."""


class RequestBody:
    """ASGI middleware that decodes and counts request bodies.

    A body with a `Content-Encoding` is decompressed in chunks, so that the size limits of the
    routes apply to the decompressed body, and by `in_thread` if it is long. `is_spooled` tells
    whether a request's body is written to disk.
    """

    def __init__(
        self,
        app: ASGIApp,
        budget: BodyBudget,
        in_thread: InThread,
        is_spooled: Callable[[Scope], bool],
    ) -> None:
        self._app = app
        self._in_thread = in_thread
        self._budget = budget
        self._is_spooled = is_spooled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if length == b"0" and b"transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        most = SPOOLED_BYTES if self._is_spooled(scope) else self._budget.limit
        try:
            # A longer length than the limit is refused by the routes.
            self._budget.check(min(int(length), most))
            receive = _decoded(scope, receive, self._in_thread)
        except HTTPException as error:
            response = await refusal(Request(scope), error)
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
            return
        if b"json" in headers.get(b"content-type", b"").lower():
            receive = _without_bom(receive)
        held = 0

        async def counted() -> Message:
            nonlocal held
            message = await receive()
            size = min(len(message.get("body", b"")), most - held)
            self._budget.hold(size)
            held += size
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            self._budget.release(held)


def _decoded(scope: Scope, receive: Receive, in_thread: InThread) -> Receive:
    """Return a `receive` of the decompressed body, and remove the headers about compression."""
    # Several lines of a field are one list.
    lines = [value for name, value in scope["headers"] if name == b"content-encoding"]
    names = [name.strip().lower() for name in b",".join(lines).decode("latin-1").split(",")]
    name = ", ".join(name for name in names if name not in ("", "identity"))
    if not name:
        return receive
    if name not in WINDOWS:
        raise HTTPException(
            UnsupportedMediaType.status,
            f"the content encoding must be gzip or deflate, not {name}",
            {"Accept-Encoding": "gzip, deflate"},
        )
    about = (b"content-encoding", b"content-length")
    scope["headers"] = [header for header in scope["headers"] if header[0] not in about]
    return _Inflated(receive, name, in_thread).receive


class _Inflated:
    """A compressed body, decompressed as it is read."""

    def __init__(self, receive: Receive, encoding: str, in_thread: InThread) -> None:
        self._receive = receive
        self._in_thread = in_thread
        self._encoding = encoding
        self._inflate = zlib.decompressobj(WINDOWS[encoding])
        self._compressed = b""
        self._more = True
        """Whether more of the compressed body is to be received."""
        self._is_over = False
        self._members = 1
        self._bytes = 0
        """Decompressed bytes."""

    async def receive(self) -> Message:
        while not self._is_over:
            if self._more and not self._compressed:
                message = await self._receive()
                if message["type"] != "http.request":
                    return message
                self._compressed = message.get("body", b"")
                self._more = message.get("more_body", False)
            # A first chunk takes less time than a thread; of many bodies, the rest would not.
            is_long = self._bytes > 0
            plain = await self._in_thread(self._next_chunk) if is_long else self._next_chunk()
            is_drained = len(plain) < CHUNK_BYTES and not self._compressed
            self._is_over = is_drained and not self._more
            if self._is_over and not self._inflate.eof:
                raise self._malformed("it is truncated")
            await asyncio.sleep(0)
            if plain or self._is_over:
                return {"type": "http.request", "body": plain, "more_body": not self._is_over}
        return await self._receive()

    def _next_chunk(self) -> bytes:
        if self._inflate.eof and self._compressed:
            # A gzip file may have several members.
            self._inflate = zlib.decompressobj(WINDOWS[self._encoding])
            self._members += 1
            if self._members > max(MAX_SMALL_MEMBERS, self._bytes // MEMBER_BYTES):
                raise self._malformed("it has too many small members")
        try:
            plain = self._inflate.decompress(self._compressed, CHUNK_BYTES)
        except zlib.error as error:
            raise self._malformed(str(error)) from None
        self._bytes += len(plain)
        self._compressed = self._inflate.unused_data or self._inflate.unconsumed_tail
        return plain

    def _malformed(self, reason: str) -> HTTPException:
        return HTTPException(400, f"the body is not valid {self._encoding} data: {reason}")


def _without_bom(receive: Receive) -> Receive:
    is_first = True

    async def stripped() -> Message:
        nonlocal is_first
        message = await receive()
        if not is_first or message["type"] != "http.request":
            return message
        is_first = False
        while len(message["body"]) < len(BOM) and message.get("more_body"):
            rest = await receive()
            if rest["type"] != "http.request":
                return rest
            message = {**rest, "body": message["body"] + rest["body"]}
        return {**message, "body": message["body"].removeprefix(BOM)}

    return stripped
