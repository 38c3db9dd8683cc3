"""Many pipelined requests, cut at random places, and the responses they must get in order."""

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol


class Exchange(NamedTuple):
    """A request and what its response must be."""

    content: bytes
    status: int
    contains: bytes
    """Part of the response's body."""
    predictions: int = 0
    """Number of predictions in the response."""
    request_id: bytes = b""
    """Id that comes back in the response's head."""


class Reader(Protocol):
    """The receiving side of a connection."""

    async def readuntil(self, separator: bytes = b"\n") -> bytes: ...

    async def readexactly(self, n: int) -> bytes: ...


def exchanges(chance: random.Random, model: str, count: int) -> Iterator[Exchange]:
    """Yield random exchanges, each recognizable by its response."""
    for number in range(count):
        kind = chance.choice(KINDS)
        yield kind(chance, model, number)


def pieces(chance: random.Random, content: bytes) -> Iterator[bytes]:
    """Yield `content` in pieces of random sizes, from one byte to several requests."""
    place = 0
    while place < len(content):
        size = int(2 ** chance.uniform(0, 13))
        yield content[place : place + size]
        place += size


async def check(reader: Reader, expected: Sequence[Exchange]) -> None:
    """Read the responses and compare each with the expected one."""
    for number, exchange in enumerate(expected):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if head.startswith(b"http/1.1 100 "):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[0])
        is_head = exchange.content.startswith(b"HEAD ")
        body = b"" if is_head else await reader.readexactly(length)
        status = int(head.split()[1])
        assert status == exchange.status, (number, exchange, head, body)
        assert exchange.contains in body, (number, exchange, body)
        assert body.count(b'"value":') == exchange.predictions, (number, exchange, body)
        assert exchange.request_id in head, (number, exchange, head)


async def play(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seed: int, model: str, count: int
) -> None:
    """Send `count` random requests without waiting for responses, and check all of them."""
    chance = random.Random(seed)
    expected = list(exchanges(chance, model, count))
    checking = asyncio.create_task(check(reader, expected))
    try:
        for piece in pieces(chance, b"".join(exchange.content for exchange in expected)):
            if checking.done():
                break
            writer.write(piece)
            await writer.drain()
            if chance.random() < 0.2:
                await asyncio.sleep(0)
        await checking
    finally:
        checking.cancel()


def _post(path: str, body: bytes, *fields: str, framing: str = "") -> bytes:
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        *fields,
        framing or f"Content-Length: {len(body)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


JSON = "Content-Type: application/json"
UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")


def _rows(model: str, number: int, count: int = 1) -> bytes:
    return json.dumps({"model": model, "inputs": [[number]] * count}).encode()


def _predict(chance: random.Random, model: str, number: int) -> Exchange:
    fields = [JSON, *(UPGRADE if chance.random() < 0.3 else ())]
    request_id = ""
    if chance.random() < 0.4:  # else the head may be cached
        request_id = f"X-Request-ID: id-{number}"
        fields.append(request_id)
    count = chance.choice((1, 2, 3, 4, 5, 100))
    content = _post("/predict", _rows(model, number, count), *fields)
    return Exchange(content, 200, b'"version":1', count, request_id.lower().encode())


def _chunked(chance: random.Random, model: str, number: int) -> Exchange:
    body, chunks = _rows(model, number), b""
    while body:
        size = chance.randint(1, len(body))
        extension = b";a=b" if chance.random() < 0.3 else b""
        chunks += b"%x%b\r\n%b\r\n" % (size, extension, body[:size])
        body = body[size:]
    trailer = b"X-Trailer: a\r\n" if chance.random() < 0.3 else b""
    fields = [JSON, *(UPGRADE if chance.random() < 0.3 else ())]
    content = _post("/predict", b"", *fields, framing="Transfer-Encoding: chunked")
    return Exchange(content + chunks + b"0\r\n" + trailer + b"\r\n", 200, b'"version":1', 1)


def _wrong_model(_: random.Random, model: str, number: int) -> Exchange:
    name = f"{model}-{number}"
    return Exchange(_post("/predict", _rows(name, 1), JSON), 404, f"'{name}'".encode())


def _wrong_row(_: random.Random, model: str, number: int) -> Exchange:
    body = json.dumps({"model": model, "inputs": [[f"text {number}"]]}).encode()
    return Exchange(_post("/predict", body, JSON), 422, b"inputs")


def _smuggled(_: random.Random, model: str, number: int) -> Exchange:
    inner = f"GET /jobs/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    return Exchange(_post("/predict", inner, JSON, *UPGRADE), 400, b"not valid JSON")


def _unknown_job(_: random.Random, model: str, number: int) -> Exchange:
    content = f"GET /jobs/job-{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    return Exchange(content, 404, f"job-{number}".encode())


def _head(_: random.Random, model: str, number: int) -> Exchange:
    return Exchange(
        f"HEAD /jobs/job-{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), 404, b""
    )


def _live(_: random.Random, model: str, number: int) -> Exchange:
    return Exchange(
        b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, b'{"status":"ok"}'
    )


KINDS = [
    *(_predict, _predict, _predict, _chunked, _wrong_model, _wrong_row),
    *(_smuggled, _unknown_job, _head, _live),
]
