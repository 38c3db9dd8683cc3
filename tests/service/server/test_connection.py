"""Connections with and without a fast path read the same requests from the same bytes."""

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus

import pytest

from service.server.heads import MAX_FIELDS, MAX_HEAD_BYTES
from service.server.limits import BODY_SECONDS, HEAD_SECONDS
from tests.service.server.conftest import Client, Scenario, request, rows

Serve = Callable[[Scenario], None]

JAVA = (
    "POST /predict HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: {length}\r\n"
    "Host: 127.0.0.1:8000\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    "Upgrade: h2c\r\nUser-Agent: Java-http-client/21.0.9\r\nContent-Type: application/json\r\n\r\n"
)
CURL = (
    "POST /predict HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n"
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nContent-Type: application/json\r\n"
    "Content-Length: {length}\r\n\r\n"
)
CHUNKED = CURL.replace("Content-Length: {length}", "Transfer-Encoding: chunked")
WEBSOCKET = (
    "GET /health/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def value(body: bytes) -> float:
    number: float = json.loads(body)["predictions"][0]["value"]
    return number


@pytest.mark.parametrize("head", [JAVA, CURL], ids=["java", "curl"])
@pytest.mark.parametrize("pieces", [1, 2, 50])
def test_upgrade_is_ignored(serve: Serve, head: str, pieces: int) -> None:
    async def scenario(client: Client) -> None:
        first, plain = rows(1), request(rows(2))
        expected = [value((await client.ask(request(body)))[2]) for body in (first, rows(2))]
        for _ in range(2):  # the second head may be cached
            offered = head.format(length=len(first)).encode() + first
            content = offered + plain + LIVE + offered
            size = -(-len(content) // pieces)
            for place in range(0, len(content), size):
                client.writer.write(content[place : place + size])
                await client.writer.drain()
                await asyncio.sleep(0)
            answers = [await client.answer() for _ in range(4)]
            assert [status for status, _, _ in answers] == [200] * 4
            assert [value(answers[i][2]) for i in (0, 1, 3)] == [*expected, expected[0]]
            assert all("upgrade" not in headers for _, headers, _ in answers)

    serve(scenario)


def test_body_after_upgrade_is_not_read_as_request(serve: Serve) -> None:
    async def scenario(client: Client) -> None:
        inner = b"DELETE /models/line HTTP/1.1\r\nHost: localhost\r\n\r\n"
        client.writer.write(JAVA.format(length=len(inner)).encode() + inner + LIVE)
        assert (await client.answer())[0] == 400  # it is no JSON
        assert json.loads((await client.answer())[2]) == {"status": "ok"}
        assert (await client.ask(request(rows(1))))[0] == 200

    serve(scenario)


def test_upgrade_is_ignored_on_every_route(serve: Serve) -> None:
    async def scenario(client: Client) -> None:
        assert (await client.ask(WEBSOCKET.encode() * 2))[0] == 200
        assert (await client.answer())[0] == 200
        body = rows(1)
        half = len(body) // 2
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in (body[:half], body[half:]))
        assert (await client.ask(CHUNKED.encode() + chunks + b"0\r\n\r\n"))[0] == 200
        job = JAVA.replace("/predict", "/jobs").format(length=2) + "{}"
        status, _, answer = await client.ask(job.encode())
        assert (status, json.loads(answer)["errors"][0]["loc"]) == (422, ["body", "dataset"])
        # More of them at once than Python's calls may be nested.
        client.writer.write(WEBSOCKET.encode() * 2000)
        for _ in range(2000):
            assert (await client.answer())[0] == 200

    serve(scenario)


SHORT = rows(1)
FIELDS = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
OLD = FIELDS.replace(b"1.1", b"1.0")
HOST = b"Host: localhost\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(SHORT)
END = b"\r\n"
AS_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SHORT), SHORT)
TE = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("content", "status"),
    {
        "plain": (FIELDS + LENGTH + END + SHORT, 200),
        "a blank after the length": (FIELDS + LENGTH[:-2] + b" \r\n" + END + SHORT, 200),
        "a tab after the length": (FIELDS + LENGTH[:-2] + b"\t\r\n" + END + SHORT, 200),
        "zeros before the length": (FIELDS + LENGTH.replace(b": ", b": 000") + END + SHORT, 200),
        "chunked": (FIELDS + TE + END + AS_CHUNK, 200),
        "chunk extensions": (FIELDS + TE + END + AS_CHUNK.replace(b"\r\n", b";a=b\r\n", 1), 200),
        "a trailer": (FIELDS + TE + END + AS_CHUNK[:-2] + b"X-Request-ID: b\r\n\r\n", 200),
        "a trailing length": (FIELDS + TE + END + AS_CHUNK[:-2] + LENGTH + b"\r\n", 400),
        "a length and chunked": (FIELDS + LENGTH + TE + END + AS_CHUNK, 400),
        "chunked and a length": (FIELDS + TE + LENGTH + END + AS_CHUNK, 400),
        "two lengths": (FIELDS + LENGTH + b"Content-Length: 1\r\n" + END + SHORT, 400),
        "the length twice": (FIELDS + LENGTH + LENGTH + END + SHORT, 400),
        "a list of lengths": (FIELDS + b"Content-Length: 1, 1\r\n" + END + SHORT, 400),
        "a length with a sign": (FIELDS + LENGTH.replace(b": ", b": +") + END + SHORT, 400),
        "a negative length": (FIELDS + b"Content-Length: -1\r\n" + END + SHORT, 400),
        "a length in hex": (FIELDS + b"Content-Length: 0x5\r\n" + END + SHORT, 400),
        "an endless length": (FIELDS + b"Content-Length: %b\r\n" % (b"9" * 30) + END + SHORT, 400),
        "a length without digits": (FIELDS + b"Content-Length: \r\n" + END + SHORT, 400),
        "a blank before the colon": (FIELDS + LENGTH.replace(b":", b" :") + END + SHORT, 400),
        "a folded field": (FIELDS + b"X: a\r\n b\r\n" + LENGTH + END + SHORT, 400),
        "a folded length": (FIELDS + LENGTH.replace(b": ", b":\r\n ") + END + SHORT, 400),
        "bare line feeds": ((FIELDS + LENGTH + END).replace(b"\r\n", b"\n") + SHORT, 400),
        "one bare line feed": (FIELDS + LENGTH.replace(b"\r\n", b"\n") + END + SHORT, 400),
        "a bare carriage return": (FIELDS + b"X: a\rb\r\n" + LENGTH + END + SHORT, 400),
        "a zero byte": (FIELDS + b"X: a\0b\r\n" + LENGTH + END + SHORT, 400),
        "chunked in capitals": (FIELDS + TE.upper() + END + AS_CHUNK, 200),
        "an unknown coding": (FIELDS + TE.replace(b"chunked", b"xchunked") + END + AS_CHUNK, 400),
        "no coding": (FIELDS + TE.replace(b"chunked", b"") + END + AS_CHUNK, 400),
        "another coding": (FIELDS + TE.replace(b"chunked", b"gzip, chunked") + END + AS_CHUNK, 501),
        "two lines": (FIELDS + TE.replace(b"chunked", b"gzip") + TE + END + AS_CHUNK, 501),
        "chunked is not last": (FIELDS + TE.replace(b"\r", b", gzip\r") + END + AS_CHUNK, 400),
        "another line follows": (FIELDS + TE + TE.replace(b"chunked", b"gzip") + END, 400),
        "chunked twice": (FIELDS + TE + TE + END + AS_CHUNK, 400),
        "chunked twice in a list": (FIELDS + TE.replace(b"\r", b", chunked\r") + END, 400),
        "chunked in HTTP/1.0": (OLD + TE + END + AS_CHUNK, 400),
        "a coding and a length in HTTP/1.0": (OLD + LENGTH + TE + END + AS_CHUNK, 400),
        "a chunk size in 0x": (FIELDS + TE + END + b"0x" + AS_CHUNK, 400),
        "an endless chunk size": (FIELDS + TE + END + b"f" * 17 + AS_CHUNK, 400),
        "a line feed in an extension": (FIELDS + TE + END + b"1;a\nb\r\n", 400),
        "a chunk without its line break": (FIELDS + TE + END + b"1\r\na0\r\n\r\n", 400),
        "a blank before the first field": (FIELDS.replace(b"\r\n", b"\r\n ", 1) + END, 400),
        "no host": (FIELDS.replace(HOST, b"") + LENGTH + END + SHORT, 400),
        "two hosts": (FIELDS + b"Host: b\r\n" + LENGTH + END + SHORT, 400),
        "the host twice": (FIELDS + HOST + LENGTH + END + SHORT, 400),
        "two hosts in HTTP/1.0": (OLD + HOST + LENGTH + END + SHORT, 400),
        "two hosts in one line": (FIELDS.replace(HOST, b"Host: a, b\r\n") + LENGTH + END, 400),
        "an address as host": (
            FIELDS.replace(HOST, b"Host: [::1]:8000\r\n") + LENGTH + END + SHORT,
            200,
        ),
        "a URL as host": (FIELDS.replace(HOST, b"Host: http://a\r\n") + LENGTH + END, 400),
        "no version": (b"GET /health/live\r\n\r\n", 505),
        "HTTP/2 without its preface": (LIVE.replace(b"1.1", b"2.0"), 505),
        "a chunk size with a sign": (FIELDS + TE + END + b"+" + AS_CHUNK, 400),
        "chunks with line feeds": (FIELDS + TE + END + AS_CHUNK.replace(b"\r\n", b"\n"), 400),
        "a long chunk": (FIELDS + TE + END + AS_CHUNK.replace(SHORT, SHORT + b"12", 1), 400),
        "no method": (b" / HTTP/1.1\r\n\r\n", 400),
        "a tunnel": (b"CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
        "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40, 400),
    }.values(),
)
def test_ambiguous_framing_is_refused(serve: Serve, content: bytes, status: int) -> None:
    async def scenario(client: Client) -> None:
        # After a request that leaves its head in the cache, and one that is not answered yet.
        assert (await client.ask(FIELDS + LENGTH + END + SHORT))[0] == 200
        client.writer.write(request(rows(*range(1000))) + content + LIVE)
        assert (await client.answer())[0] == 200
        found, headers, body = await client.answer()
        assert found == status, body
        if status == 200:
            assert json.loads(body)["model"] == "line"
            assert json.loads((await client.answer())[2]) == {"status": "ok"}
        else:
            assert headers["connection"] == "close"
            assert headers["content-type"] == "application/problem+json"
            assert json.loads(body)["title"] == HTTPStatus(status).phrase
            assert await client.ended()

    serve(scenario)


@pytest.mark.parametrize("host", ["", "Host: localhost\r\n"])
def test_http_1_0_needs_no_host(serve: Serve, host: str) -> None:
    async def scenario(client: Client) -> None:
        head = f"GET /health/live HTTP/1.0\r\n{host}\r\n"
        status, headers, _ = await client.ask(head.encode())
        assert (status, headers["connection"]) == (200, "close")
        assert await client.ended()

    serve(scenario)


@pytest.mark.parametrize("pieces", [1, 100])
@pytest.mark.parametrize(
    "fields",
    [
        b"".join(b"X-%d: a\r\n" % i for i in range(MAX_FIELDS)),
        b"X: %b\r\n" % (b"a" * MAX_HEAD_BYTES),
        b"X: " + b"a" * 1_000_000,
    ],
    ids=["many fields", "a long field", "an endless field"],
)
def test_head_over_limit_is_refused(serve: Serve, fields: bytes, pieces: int) -> None:
    async def scenario(client: Client) -> None:
        content = FIELDS + fields + LENGTH + END + SHORT
        size = -(-len(content) // pieces)
        for place in range(0, len(content), size):
            client.writer.write(content[place : place + size])
            await asyncio.sleep(0)
        status, headers, body = await client.answer()
        assert (status, headers["connection"]) == (431, "close")
        assert "16,384 bytes or 100 fields" in json.loads(body)["detail"]
        assert await client.ended()

    serve(scenario)


def test_head_within_limits_is_read(serve: Serve) -> None:
    async def scenario(client: Client) -> None:
        many = b"".join(b"X-%d: %b\r\n" % (i, b"a" * 150) for i in range(MAX_FIELDS - 3))
        assert (await client.ask(FIELDS + many + LENGTH + END + SHORT))[0] == 200
        for _ in range(3):  # they do not add up
            assert (
                await client.ask(FIELDS + b"X: %b\r\n" % (b"a" * 16_000) + LENGTH + END + SHORT)
            )[0] == 200
        # Neither do trailers count as fields of a head, nor have they a place in memory.
        trailers = b"".join(b"X-%d: a\r\n" % i for i in range(200))
        assert (await client.ask(FIELDS + TE + END + AS_CHUNK[:-2] + trailers + b"\r\n"))[0] == 200

    serve(scenario)


def test_endless_trailer_is_refused(serve: Serve) -> None:
    async def scenario(client: Client) -> None:
        client.writer.write(FIELDS + TE + END + AS_CHUNK[:-2] + b"X: ")
        for _ in range(20):
            client.writer.write(b"a" * 4096)
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.answer())[0] == 431

    serve(scenario)


async def check(client: Client, seconds: float) -> None:
    """Let time pass for the limits: the first check notices what each connection waits for."""
    limits = client.server.limits
    for passed in (0.0, seconds):
        limits.check(client.server.server_state.connections, passed)  # type: ignore[arg-type]


async def settled(client: Client) -> None:
    """Wait until the server has read what was sent."""
    await client.writer.drain()
    for _ in range(20):
        await asyncio.sleep(0.005)


def test_slow_head_is_refused(serve: Serve) -> None:
    async def scenario(client: Client) -> None:
        client.writer.write(FIELDS)
        await settled(client)
        await check(client, HEAD_SECONDS - 1)
        client.writer.write(LENGTH)
        await settled(client)
        await check(client, 1)
        status, headers, body = await client.answer()
        assert (status, headers["connection"]) == (408, "close")
        assert "within 10 seconds" in json.loads(body)["detail"]
        assert await client.ended()

    serve(scenario)


@pytest.mark.parametrize("is_known", [True, False])
def test_slow_body_is_refused(serve: Serve, is_known: bool) -> None:
    async def scenario(client: Client) -> None:
        body = SHORT + b" " * 60_000
        content = request(body, **({} if is_known else {"X-New": "1"}))
        sent = len(content) - 50_000
        client.writer.write(content[:sent])
        await settled(client)
        await check(client, BODY_SECONDS - 1)
        client.writer.write(content[sent : sent + 20_000])
        await settled(client)
        await check(client, 1)  # enough has come
        client.writer.write(content[sent + 20_000 : sent + 21_000])
        await settled(client)
        await check(client, BODY_SECONDS)
        status, headers, _ = await client.answer()
        assert (status, headers["connection"]) == (408, "close")
        assert await client.ended()

    serve(scenario)


def test_slow_upload_is_refused(serve: Serve) -> None:
    async def scenario(client: Client) -> None:
        client.writer.write(
            b"POST /datasets HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\na,b"
        )
        await settled(client)
        await check(client, BODY_SECONDS)
        assert (await client.answer())[0] == 408
        assert await client.ended()

    serve(scenario)


def test_time_of_the_service_does_not_count(serve: Serve) -> None:
    async def scenario(client: Client) -> None:
        content = request(rows(*range(64)), Expect="100-continue")
        known = client.connection
        client.writer.write(request(rows(*range(1000))) + content)
        known.pause_writing()
        await settled(client)
        await check(client, 10 * BODY_SECONDS)
        known.resume_writing()
        assert (await client.answer())[0] == 200
        assert (await client.answer())[0] == 200

    serve(scenario)


def test_idle_connections_are_closed(serve: Serve) -> None:
    async def scenario(client: Client) -> None:
        port = client.server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await client.ask(request(rows(1))))[0] == 200
        await settled(client)
        await check(client, 74)
        assert (await client.ask(request(rows(1))))[0] == 200
        await check(client, 2)
        assert await reader.read() == b""  # idle for 76 seconds, before a first request
        writer.close()
        assert (await client.ask(request(rows(3e38))))[0] == 422
        await check(client, 75)
        assert await client.ended()

    serve(scenario)


def test_connection_stays_open_after_500(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(client: Client) -> None:
        def broken(*_: object) -> None:
            raise IndexError

        monkeypatch.setattr("service.jobs.store.JobStore.page", broken)
        for _ in range(2):
            status, headers, _ = await client.ask(b"GET /jobs HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (status, "connection" in headers) == (500, False)
        assert (await client.ask(request(rows(1))))[0] == 200

    serve(scenario)
