"""Request heads, cached under their bytes."""

from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from service.server.fast_path.head_cache import (
    MAX_HEAD_BYTES,
    MAX_HEADS,
    Head,
    HeadCache,
    find_frame,
)

HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nAccept: */*\r\n\r\n"


def test_frame_locates_the_body() -> None:
    frame = find_frame(HEAD + b"abcdef")
    assert frame
    assert (frame.body, frame.end) == (len(HEAD), len(HEAD) + 3)


def test_key_ignores_the_content_length() -> None:
    one = find_frame(HEAD)
    assert one
    longer, other = (
        find_frame(HEAD.replace(*change)) for change in ((b" 3", b"12345"), (b"a", b"b"))
    )
    assert longer
    assert other
    assert longer.key == one.key != other.key
    assert longer.end - longer.body == 12345


@pytest.mark.parametrize(
    "received",
    [
        b"",
        b"\r\n\r\n",
        HEAD[:-1],
        HEAD.replace(b"Content-Length: 3\r\n", b""),
        HEAD.replace(b" 3", b" 3, 3"),
        HEAD.replace(b" 3", b" -3"),
        HEAD.replace(b" 3", b""),
        HEAD.replace(b" 3", b"1" * 10),
        HEAD.replace(b" 3", str(HIGH_WATER_LIMIT - len(HEAD)).encode()),
        HEAD.replace(b"*/*", b"*" * MAX_HEAD_BYTES),
        # Inside another header's line.
        HEAD.replace(b"\r\nContent-Length: 3", b"; Content-Length: 3"),
    ],
)
def test_other_heads_are_left_to_the_parser(received: bytes) -> None:
    assert find_frame(received) is None


@pytest.mark.parametrize(
    ("headers", "line"),
    [
        ([(b"content-length", b"3"), (b"content-length", b"3")], b""),
        ([(b"content-length", b"3"), (b"transfer-encoding", b"chunked")], b""),
        ([(b"content-length", b"3"), (b"expect", b"100-continue")], b""),
        ([(b"content-length", b"3"), (b"x-request-id", b"1")], b""),
        ([(b"content-length", b"3")], b"\n"),
        ([], b""),
    ],
)
def test_ambiguous_heads_are_not_cached(headers: list[tuple[bytes, bytes]], line: bytes) -> None:
    head_cache = HeadCache()
    head_cache.learn(b"key" + line, head(headers))
    assert head_cache.get(b"key" + line) is None


def test_number_of_cached_heads_is_limited() -> None:
    head_cache = HeadCache()
    for number in range(MAX_HEADS + 1):
        head_cache.learn(b"%d" % number, head([(b"content-length", b"3")]))
    known = [head_cache.get(b"%d" % number) for number in range(MAX_HEADS + 1)]
    assert known[-1]
    assert len([one for one in known if one]) <= MAX_HEADS


def head(headers: list[tuple[bytes, bytes]]) -> Head:
    scope: dict[str, Any] = {"headers": headers}
    return Head(scope, lambda scope, body: pytest.fail("nothing is read"), None)
