"""Connections answer in order, and until the end, with and without the fast path."""

import asyncio
import json
from collections.abc import Callable

import pytest

from service.server.fast_path.state import State
from tests.service.server.conftest import (
    BYTES,
    HEADERS,
    NUMBERS,
    Client,
    Scenario,
    request,
    rows,
    with_fast_path,
)


def test_pipelined_requests_are_answered_in_order(serve: Callable[[Scenario], None]) -> None:
    async def scenario(client: Client) -> None:
        health = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
        contents = [
            request(rows(1)),
            request(rows(3e38)),
            request(rows(2)),
            health,
            request(rows(*range(1000))),
            request(rows(3)),
        ]
        client.writer.write(b"".join(contents))
        answers = [await client.answer() for _ in contents]
        assert [status for status, _, _ in answers] == [200, 422, 200, 200, 200, 200]
        values = [
            prediction["value"]
            for index in (0, 2, 5)
            for prediction in json.loads(answers[index][2])["predictions"]
        ]
        assert values == sorted(values)
        assert len(set(values)) == 3

    serve(scenario)


def test_request_in_pieces_is_answered(serve: Callable[[Scenario], None]) -> None:
    async def scenario(client: Client) -> None:
        whole = await client.ask(request(rows(1)))
        content = request(rows(1))
        for place in range(0, len(content), 7):
            client.writer.write(content[place : place + 7])
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.answer())[2] == whole[2]

    serve(scenario)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_connection_close_is_respected(serve: Callable[[Scenario], None], version: str) -> None:
    async def scenario(client: Client) -> None:
        content = request(rows(1), Connection="close").replace(b"1.1", version.encode(), 1)
        status, headers, _ = await client.ask(content)
        assert (status, headers["connection"]) == (200, "close")
        assert await client.ended()

    serve(scenario)


@pytest.mark.parametrize("cached", [True, False])
def test_shutdown_completes_a_partly_received_request(
    serve: Callable[[Scenario], None], cached: bool
) -> None:
    async def scenario(client: Client) -> None:
        content = request(rows(1), **HEADERS[cached])
        client.writer.write(content[:-5])
        held = client.connection
        await client.half_read(State.RECEIVING if cached else State.HOLDING)
        client.server.should_exit = True
        while held.cycle.keep_alive:
            await asyncio.sleep(0)
        status, headers, _ = await client.ask(content[-5:])
        assert (status, headers["connection"]) == (200, "close")
        assert await client.ended()

    serve(scenario)


@pytest.mark.parametrize("cached", [True, False])
def test_disconnect_in_mid_request_is_counted(
    serve: Callable[[Scenario], None], cached: bool
) -> None:
    async def scenario(client: Client) -> None:
        client.writer.write(request(rows(1), **HEADERS[cached])[:-5])
        client.writer.write_eof()
        client.writer.close()
        await client.counted(499)

    serve(scenario)


@with_fast_path
def test_cached_head_is_not_parsed_again(serve: Callable[[Scenario], None]) -> None:
    async def scenario(client: Client) -> None:
        connection = client.connection
        cycle = connection.cycle
        # Other lengths hit the cache too.
        for value in 1, 22, 333:
            status, headers, body = await client.ask(request(rows(value)))
            assert (status, json.loads(body)["model"]) == (200, "line")
            assert headers.keys() == {
                *("date", "server", "content-type", "content-length", "x-request-id"),
                *("content-security-policy", "x-content-type-options"),
            }
        assert connection.cycle is cycle
        # An invalid request is parsed; the one after it may hit the cache again.
        assert (await client.ask(request(rows(3e38))))[0] == 422
        failed = connection.cycle
        assert failed is not cycle
        assert (await client.ask(request(rows(1))))[0] == 200
        assert connection.cycle is failed

    serve(scenario)


def test_different_heads_are_not_confused(serve: Callable[[Scenario], None]) -> None:
    async def scenario(client: Client) -> None:
        _, first, _ = await client.ask(request(rows(1), **{"X-Request-ID": "mine-1"}))
        _, same, _ = await client.ask(request(rows(2), **{"X-Request-ID": "mine-1"}))
        _, other, _ = await client.ask(request(rows(2), **{"X-Request-ID": "mine-2"}))
        assert [h["x-request-id"] for h in (first, same, other)] == ["mine-1", "mine-1", "mine-2"]
        for query, status in (("?model=line", 200), ("?model=lime", 404), ("", 422)):
            for _ in range(2):
                assert (await client.ask(request(NUMBERS, BYTES, query)))[0] == status

    serve(scenario)


def test_requests_received_during_a_batch_are_answered_in_order(
    serve: Callable[[Scenario], None],
) -> None:
    async def scenario(client: Client) -> None:
        connection = client.connection
        # The second and part of the third arrive while the first waits for its batch.
        contents = [request(rows(value)) for value in (1, 2, 3)]
        received = b"".join(contents)
        connection.data_received(received[: len(contents[0])])
        connection.data_received(received[len(contents[0]) : -9])
        connection.data_received(received[-9:])
        answers = [json.loads((await client.answer())[2]) for _ in contents]
        values = [answer["predictions"][0]["value"] for answer in answers]
        assert values == sorted(values)
        assert len(set(values)) == 3

    serve(scenario)


def test_reading_pauses_while_the_client_does_not_read(
    serve: Callable[[Scenario], None],
) -> None:
    async def scenario(client: Client) -> None:
        connection = client.connection
        connection.pause_writing()  # as the transport does when the client is not reading
        contents = [request(rows(value)) for value in (1, 2, 3)]
        client.writer.write(b"".join(contents))
        while not connection.flow.read_paused:
            await asyncio.sleep(0)
        assert len(connection.pipeline) == 2
        connection.resume_writing()
        answers = [await client.answer() for _ in contents]
        assert [status for status, _, _ in answers] == [200, 200, 200]

    serve(scenario)


@pytest.mark.parametrize(("value", "status"), [(1, 200), (3e38, 422)])
def test_shutdown_completes_received_requests(
    serve: Callable[[Scenario], None], value: float, status: int
) -> None:
    async def scenario(client: Client) -> None:
        connection = client.connection
        contents = [request(rows(value)), request(rows(2)), request(rows(3))]
        connection.data_received(b"".join(contents))
        connection.shutdown()
        answers = [await client.answer() for _ in contents]
        assert [one for one, _, _ in answers] == [status, 200, 200]
        assert answers[-1][1]["connection"] == "close"
        assert await client.ended()

    serve(scenario)


@with_fast_path
def test_disconnect_before_the_batch_is_counted(
    serve: Callable[[Scenario], None],
) -> None:
    async def scenario(client: Client) -> None:
        connection = client.connection
        connection.data_received(request(rows(1)))
        connection.transport.abort()
        await client.counted(499)
        assert connection.state is not State.ANSWERING

    serve(scenario)
