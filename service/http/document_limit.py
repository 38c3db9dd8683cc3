"""Limits of JSON documents: specs and options, as opposed to rows, images and files."""

import re
from collections.abc import Callable
from itertools import accumulate

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml.errors import Invalid
from ml.inputs.json_slices import MAX_DEPTH, count_values
from service.errors import ClientGone, Problem, TooLarge, Unprocessable
from service.http.body_limit import too_large
from service.http.problem_json import refusal

MAX_BYTES = 1024 * 1024
MAX_VALUES = 50_000
"""Twice as many as an expression with 10,000 numbers can have."""
STRING = re.compile(rb'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)')
"""A string, also one that does not end: it is searched for only once."""
STEP = dict(zip(b"[{]}", (1, 1, -1, -1), strict=True))
"""Change of the depth at each bracket."""
NO_BRACKETS = bytes(byte for byte in range(256) if byte not in STEP)
WITH_BODY = {"POST", "PUT", "PATCH"}


class DocumentLimit:
    """ASGI middleware that rejects a large, long or deep document before it is parsed: the
    framework parses it on the event loop. `is_data` tells whether a request's body is no
    document."""

    def __init__(self, app: ASGIApp, is_data: Callable[[Scope], bool]) -> None:
        self._app = app
        self._is_data = is_data

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in WITH_BODY or self._is_data(scope):
            await self._app(scope, receive, send)
            return
        try:
            body = await _read(receive)
            check_document(body)
        except ClientGone:
            return
        except (Problem, HTTPException) as error:
            response = await refusal(Request(scope), error)
            await response(scope, receive, send)
            return
        await self._app(scope, _replaying(body, receive), send)


def check_document(body: bytes) -> None:
    """Check a document before it is parsed.

    Raises:
        TooLarge: it has too many values.
        Unprocessable: it is nested too deeply.
    """
    if count_values(body) > MAX_VALUES:
        raise TooLarge(f"the body has more than {MAX_VALUES:,} values")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        raise Unprocessable.at(Invalid(f"is nested more than {MAX_DEPTH} deep"), "body")


def _depth(body: bytes) -> int:
    """Return how deep the lists and objects of a document are nested."""
    brackets = STRING.sub(b"", body).translate(None, NO_BRACKETS)
    return max(accumulate(STEP[bracket] for bracket in brackets))


async def _read(receive: Receive) -> bytes:
    """Return a body. One that is too large is received to its end, without being kept: a client
    that still sends would not see the refusal."""
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size, more = size + len(chunk), message.get("more_body", False)
        if size <= MAX_BYTES:
            chunks.append(chunk)
        else:
            chunks.clear()
    if size > MAX_BYTES:
        raise too_large(MAX_BYTES)
    return b"".join(chunks)


def _replaying(body: bytes, receive: Receive) -> Receive:
    is_read = False

    async def replayed() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
