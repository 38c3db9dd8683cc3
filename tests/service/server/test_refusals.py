"""Errors that a connection answers itself look like all others."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator

import pytest

from service.logs import REQUEST_ID
from service.server.limits import BODY_SECONDS, HEAD_SECONDS, NO_MEMORY
from service.settings import Settings
from tests.service.server.conftest import Answer, Client, Scenario, request, rows
from tests.service.server.test_connection import LIVE, check, settled

Serve = Callable[[Scenario], None]

PAGE = "https://app.example.com"
HOST = b"Host: localhost\r\n"
ABOUT = (
    b"Origin: %b\r\nX-Request-ID: mine-1\r\nX-Forwarded-For: 192.0.2.9\r\n" % PAGE.encode()
) + HOST
JSON = b"Content-Type: application/json\r\n"
ENDLESS = b"X: " + b"a" * 20_000
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    changes = {"cors_origins": (PAGE,), "trusted_proxies": ("127.0.0.0/8",)}
    return settings.model_copy(update=changes)


@pytest.fixture
def logged() -> Iterator[list[tuple[str, str]]]:
    """Request ids and messages of the access log."""
    lines: list[tuple[str, str]] = []

    def note(record: logging.LogRecord) -> bool:
        lines.append((REQUEST_ID.get(), record.getMessage()))
        return True

    logger = logging.getLogger("epochd.access")
    level, _ = logger.level, logger.setLevel(logging.INFO)
    logger.addFilter(note)
    yield lines
    logger.removeFilter(note)
    logger.setLevel(level)


def post(fields: bytes, path: str = "/predict", method: str = "POST") -> bytes:
    return f"{method} {path} HTTP/1.1\r\n".encode() + fields


@pytest.mark.parametrize(
    ("content", "seconds", "status"),
    [
        (post(ABOUT + ENDLESS), 0, 431),
        (post(ABOUT + b"X: a\r\n" * 100 + b"\r\n"), 0, 431),
        (post(ABOUT.replace(HOST, b"") + b"\r\n"), 0, 400),
        (post(ABOUT + b"X: a\0b\r\n\r\n"), 0, 400),
        (post(ABOUT + b"Transfer-Encoding: gzip, chunked\r\n\r\n"), 0, 501),
        (post(ABOUT + CHUNKED + b"no size\r\n"), 0, 400),
        (post(ABOUT + b"Content-Len"), HEAD_SECONDS, 408),
        (post(ABOUT + JSON + b"Content-Length: 100000\r\n\r\n{"), BODY_SECONDS, 408),
        (post(ABOUT + b"Content-Length: 100000\r\n\r\n{", "/datasets"), BODY_SECONDS, 408),
        # Answered by the application.
        (post(ABOUT + JSON + b"Content-Length: 9999999999\r\n\r\n"), 0, 413),
    ],
)
def test_they_have_the_id_and_headers_of_the_request(
    serve: Serve, logged: list[tuple[str, str]], content: bytes, seconds: float, status: int
) -> None:
    async def scenario(client: Client) -> None:
        _, usual, _ = await client.ask(b"GET /jobs HTTP/1.1\r\n" + ABOUT + b"\r\n")
        client.writer.write(content)
        if seconds:
            await settled(client)
            await check(client, seconds)
        refused, headers, body = await client.answer()
        assert (refused, json.loads(body)["status"]) == (status, status)
        assert headers["content-type"] == "application/problem+json"
        assert headers["connection"] == "close"
        for name in usual.keys() - {"date", "content-type", "content-length"}:
            assert headers[name] == usual[name], name
        assert usual["x-request-id"] == "mine-1"
        assert usual["access-control-allow-origin"] == PAGE
        path = content.split()[1].decode()
        # The line of a response by the application follows it.
        while not any(f" {status}" in message for _, message in logged):
            await asyncio.sleep(0)
        assert [(i, m[: m.index(str(status)) + 3]) for i, m in logged if f" {status}" in m] == [
            ("mine-1", f"192.0.2.9 POST {path} {status}")
        ]

    serve(scenario)


def assert_only_an_id(answer: Answer, status: int) -> None:
    refused, headers, body = answer
    assert (refused, json.loads(body)["status"]) == (status, status)
    assert len(headers["x-request-id"]) >= 8
    assert "access-control-allow-origin" not in headers
    assert headers["vary"] == "Origin"


def test_a_known_head_leads_to_a_new_id(serve: Serve, logged: list[tuple[str, str]]) -> None:
    async def scenario(client: Client) -> None:
        content = request(rows(1) + b" " * 60_000)
        client.writer.write(content[:1000])
        await settled(client)
        await check(client, BODY_SECONDS)
        answer = await client.answer()
        assert_only_an_id(answer, 408)
        assert (answer[1]["x-request-id"], "127.0.0.1 POST /predict 408: ") in [
            (i, m[: m.index(": ") + 2]) for i, m in logged if ": " in m
        ]

    serve(scenario)


@pytest.mark.parametrize("content", [b"\x16\x03\x01", b"no method\r\n\r\n", b" / HTTP/1.1\r\n\r\n"])
def test_nothing_is_taken_from_the_request_before(
    serve: Serve, logged: list[tuple[str, str]], content: bytes
) -> None:
    async def scenario(client: Client) -> None:
        assert (await client.ask(post(ABOUT + b"\r\n", "/jobs", "GET")))[0] == 200
        assert_only_an_id(await client.ask(content), 400)
        assert logged[-1][1].startswith("127.0.0.1 - - 400: ")

    serve(scenario)


def test_other_origins_may_not_read_them(serve: Serve) -> None:
    async def scenario(client: Client) -> None:
        assert_only_an_id(await client.ask(post(b"Origin: https://evil.example\r\n\r\n")), 400)

    serve(scenario)


def test_bodies_that_find_no_memory(serve: Serve) -> None:
    async def scenario(client: Client) -> None:
        client.writer.write(post(ABOUT + JSON + b"Content-Length: 60000\r\n\r\n" + b" " * 5000))
        await settled(client)
        client.connection.refuse(NO_MEMORY)
        status, headers, _ = await client.answer()
        assert (status, headers["retry-after"]) == (503, "1")
        assert (headers["x-request-id"], headers["access-control-allow-origin"]) == ("mine-1", PAGE)

    serve(scenario)


def test_they_have_the_form_of_their_path(serve: Serve) -> None:
    async def scenario(client: Client) -> None:
        status, headers, body = await client.ask(post(b"\r\n", "/v2/models/line/infer"))
        assert (status, headers["content-type"]) == (400, "application/json")
        assert "Host" in json.loads(body)["error"]
        assert await client.ended()

    serve(scenario)


def test_head_gets_no_body(serve: Serve) -> None:
    async def scenario(client: Client) -> None:
        client.writer.write(post(b"\r\n", "/jobs", "HEAD") + LIVE)
        head = await client._reader.read()
        assert head.startswith(b"HTTP/1.1 400 ")
        assert head.endswith(b"\r\n\r\n")

    serve(scenario)
