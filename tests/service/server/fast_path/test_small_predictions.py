"""Small predictions get the same response with and without an ASGI task."""

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from service.settings import Settings
from tests.conftest import LINE
from tests.service.server.conftest import (
    BYTES,
    NUMBERS,
    VARYING_HEADERS,
    Client,
    Scenario,
    npy,
    request,
    rows,
    with_fast_path,
)

CASES = {
    "rows": (200, (rows(1, 2.5),)),
    "a row by name": (200, (b'{"model": "line", "inputs": [{"x": 3}]}',)),
    "a version": (200, (rows(1, model="line@1"),)),
    "bytes": (200, (NUMBERS, BYTES, "?model=line")),
    "an array": (200, (npy(np.ones((4, 1))), "application/x-npy", "?model=line")),
    "many rows": (200, (rows(*range(1000)),)),
    "a long body": (200, (rows(1) + b" " * 200_000,)),
    "no JSON": (400, (b"{",)),
    "no rows": (422, (b'{"model": "line", "inputs": []}',)),
    "text in a row": (422, (b'{"model": "line", "inputs": [["x"]]}',)),
    "another model": (404, (rows(1, model="lime"),)),
    "no finite answer": (422, (rows(1, 3e38),)),
    "half a number": (422, (NUMBERS[:-1], BYTES, "?model=line")),
    "no model": (422, (NUMBERS, BYTES)),
    "an unknown type": (422, (NUMBERS, BYTES, "?model=line&dtype=int3")),
    "images": (422, (b'{"model": "line", "images": ["AAAA"]}',)),
    "another content type": (415, (b"x", "text/plain")),
}


@pytest.mark.parametrize(("status", "content"), CASES.values(), ids=CASES)
def test_both_paths_give_the_same_response(
    serve: Callable[[Scenario], None], status: int, content: tuple[Any, ...]
) -> None:
    async def scenario(client: Client) -> None:
        fast = await client.ask(request(*content))
        # A client that waits for 100 Continue goes through ASGI.
        asgi = await client.ask(request(*content, Expect="100-continue"))
        for answer in fast, asgi:
            assert {"date", "server", "x-request-id"} <= answer[1].keys()
        plain = [
            (s, {k: v for k, v in h.items() if k not in VARYING_HEADERS}, b)
            for s, h, b in (fast, asgi)
        ]
        assert plain[0] == plain[1]
        assert fast[0] == status, fast[2]

    serve(scenario)


TARGETS = LINE | {
    "dataset": {**LINE["dataset"], "target": {"up": "3*x", "down": "-x", "unknown": "x**2"}}
}


@with_fast_path
@pytest.mark.parametrize("document", [TARGETS])
def test_both_paths_answer_several_targets_alike(serve: Callable[[Scenario], None]) -> None:
    async def scenario(client: Client) -> None:
        fast = await client.ask(request(rows(1, 2.5)))
        asgi = await client.ask(request(rows(1, 2.5), Expect="100-continue"))
        assert fast[2] == asgi[2]
        predictions = json.loads(fast[2])["predictions"]
        assert predictions[0] == {"values": dict.fromkeys(["up", "down", "unknown"], 2000.0)}
        assert (await client.ask(request(rows(1, 3e38))))[0] == 422

    serve(scenario)


@with_fast_path
def test_small_valid_requests_start_no_task(serve: Callable[[Scenario], None]) -> None:
    async def scenario(client: Client) -> None:
        begun = 0
        create_task = asyncio.get_running_loop().create_task

        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal begun
            begun += 1
            return create_task(*arguments, **options)

        loop: Any = asyncio.get_running_loop()
        loop.create_task = counted
        try:
            for content in (rows(1, 2),), (NUMBERS, BYTES, "?model=line"):
                assert (await client.ask(request(*content)))[0] == 200
            assert begun == 0
            assert (await client.ask(request(rows())))[0] == 422
            assert begun > 0
        finally:
            del loop.create_task

    serve(scenario)


def test_unloaded_model_is_refused_on_both_paths(serve: Callable[[Scenario], None]) -> None:
    async def scenario(client: Client) -> None:
        async def ask() -> list[int]:
            ways: list[dict[str, str]] = [{}, {"Expect": "100-continue"}]
            return [(await client.ask(request(rows(1), **way)))[0] for way in ways]

        repository = "POST /v2/repository/models/line/%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for _ in range(2):
            assert await ask() == [200, 200]
            assert (await client.ask((repository % "unload").encode()))[0] == 200
            assert await ask() == [409, 409]
            assert (await client.ask((repository % "load").encode()))[0] == 200

    serve(scenario)


def test_client_request_id_is_returned_and_requests_are_counted(
    serve: Callable[[Scenario], None],
) -> None:
    async def scenario(client: Client) -> None:
        _, headers, _ = await client.ask(request(rows(1), **{"X-Request-ID": "mine-1"}))
        assert headers["x-request-id"] == "mine-1"
        _, headers, _ = await client.ask(request(rows(1), **{"X-Request-ID": "a b"}))
        assert headers["x-request-id"] != "a b"
        metrics = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
        counted = 'duration_seconds_count{method="POST",route="/predict",status="200"} 3.0'
        assert counted in (await client.ask(metrics))[2].decode()

    serve(scenario)


def test_other_origins_and_compressed_bodies_take_the_usual_path(
    serve: Callable[[Scenario], None], settings: Settings
) -> None:
    settings.cors_origins = ("https://a.example",)

    async def scenario(client: Client) -> None:
        packed = gzip.compress(rows(1))
        for _ in range(2):
            _, headers, plain = await client.ask(request(rows(1)))
            assert "access-control-allow-origin" not in headers
            _, headers, body = await client.ask(request(rows(1), Origin="https://a.example"))
            assert (headers["access-control-allow-origin"], body) == ("https://a.example", plain)
            status, _, body = await client.ask(request(packed, **{"Content-Encoding": "gzip"}))
            assert (status, body) == (200, plain)
            assert (await client.ask(request(b"\xef\xbb\xbf" + rows(1))))[2] == plain

    serve(scenario)


def test_body_limit_applies_to_both_paths(
    serve: Callable[[Scenario], None], settings: Settings
) -> None:
    settings.max_body_bytes = 1024

    async def scenario(client: Client) -> None:
        small = rows(*range(64))
        assert (await client.ask(request(small)))[0] == 200
        status, headers, _ = await client.ask(request(small + b" " * 1024))
        assert (status, headers["connection"]) == (413, "close")
        assert await client.ended()

    serve(scenario)


@with_fast_path
def test_failed_encoding_does_not_block_later_requests(
    serve: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(client: Client) -> None:
        def broken(*_: Any) -> bytes:
            raise IndexError

        monkeypatch.setattr("service.server.fast_path.small_predictions.encode_response", broken)
        assert (await client.ask(request(rows(1))))[0] == 200  # through ASGI
        monkeypatch.undo()
        assert (await client.ask(request(rows(1))))[0] == 200

    serve(scenario)
