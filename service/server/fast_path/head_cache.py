"""Heads of requests that are read once.

A client sends the same head again and again, but for the length of what follows it. To parse it
costs more than a small model's answer, so what uvicorn's parser made of it is kept by its bytes.
"""

from typing import NamedTuple

from starlette.types import Scope
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from service.predictions.payloads import PayloadReader

MAX_HEADS = 256
MAX_HEAD_BYTES = 4096
LENGTH = b"\r\ncontent-length:"
END = b"\r\n\r\n"
LEFT_TO_THE_PARSER = {b"transfer-encoding", b"upgrade", b"expect", b"x-request-id"}
"""Headers of which more than the same bytes must be known, or which are hardly ever the same."""


class Head(NamedTuple):
    """What a head says."""

    scope: Scope
    """Of the request that it was learned from."""
    read: PayloadReader
    """Of the bodies."""
    request_id: bytes | None
    """The one that the client gave."""


class RequestFrame(NamedTuple):
    """Where a request's parts are in what was received, which may end before it does."""

    key: bytes
    """The head without the length of the body."""
    body: int
    end: int


def find_frame(received: bytes | bytearray) -> RequestFrame | None:
    """Return where the parts of the request are that was `received` first; None where its head is
    not whole, is too long, or says no length, or where uvicorn would not read it at once."""
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
    """The heads that are known."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def get(self, key: bytes) -> Head | None:
        """Return what the head of a frame says, if it is known."""
        return self._known.get(key)

    def learn(self, key: bytes, head: Head) -> None:
        """Know the head of a frame from now on, unless its like may mean something else."""
        names = [name for name, _ in head.scope["headers"]]
        if names.count(b"content-length") != 1 or not LEFT_TO_THE_PARSER.isdisjoint(names):
            return
        if key.count(b"\n") != key.count(b"\r\n"):
            return
        if len(self._known) >= MAX_HEADS:
            self._known.clear()
        self._known[key] = head
