"""A cache of parsed request heads.

A client repeats the same head, except for the content length. Parsing it costs more than the
prediction of a small model, so the parsed head is cached under its bytes.
"""

from typing import NamedTuple

from starlette.types import Scope
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from service.access.authenticator import NONE, Credentials
from service.predictions.payloads import PayloadReader

MAX_HEADS = 256
MAX_HEAD_BYTES = 4096
LENGTH = b"\r\ncontent-length:"
END = b"\r\n\r\n"
LEFT_TO_THE_PARSER = {b"transfer-encoding", b"expect", b"x-request-id"}
"""Headers that need the parser, or that differ in almost every request."""


class Head(NamedTuple):
    """A parsed request head."""

    scope: Scope
    """Scope of the request whose head was cached."""
    read: PayloadReader
    """Reader for the request bodies."""
    request_id: bytes | None
    """Request id sent by the client."""
    credentials: Credentials = NONE


class RequestFrame(NamedTuple):
    """Cache key and offsets of a request in the received bytes, which may be incomplete."""

    key: bytes
    """Head without the value of the content length."""
    body: int
    end: int


def find_frame(received: bytes | bytearray) -> RequestFrame | None:
    """Return the frame of the first request in `received`; None if its head is incomplete, too
    long or without a content length, or if uvicorn would not buffer the whole request."""
    end = received.find(END, 0, MAX_HEAD_BYTES)
    head = bytes(received[: end + 2])
    line = head.lower().find(LENGTH)
    if end < 0 or line < 0:
        return None
    place = line + len(LENGTH)
    stop = head.index(b"\r\n", place)
    digits = head[place:stop].strip(b" \t")
    if not digits.isdigit() or len(digits) > len(str(HIGH_WATER_LIMIT)):
        return None
    body = end + len(END)
    whole = body + int(digits)
    if whole > HIGH_WATER_LIMIT:
        return None
    return RequestFrame(head[:place] + head[stop:], body, whole)


class HeadCache:
    """Cached request heads by their bytes."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def get(self, key: bytes) -> Head | None:
        return self._known.get(key)

    def learn(self, key: bytes, head: Head) -> None:
        """Cache a head, unless equal bytes may have another meaning."""
        names = [name for name, _ in head.scope["headers"]]
        if names.count(b"content-length") != 1 or not LEFT_TO_THE_PARSER.isdisjoint(names):
            return
        if key.count(b"\n") != key.count(b"\r\n"):
            return
        if len(self._known) >= MAX_HEADS:
            self._known.clear()
        self._known[key] = head
