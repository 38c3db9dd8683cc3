"""Small predictions get the same response with and without an ASGI task, and on connections
without the fast path."""

import asyncio
import io
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ml import datasets
from ml.artifacts import Manifest, save_model
from ml.specs import TrainingSpec
from ml.training.run import build
from service.app import create_app
from service.jobs.attempts import AttemptStore
from service.jobs.store import JobStore
from service.server.fast_path.protocol import Connection
from service.server.fast_path.state import State
from service.server.uvicorn_server import Server
from service.settings import Settings
from service.storage.database import Database
from tests.conftest import LINE
from tests.service.conftest import claimed, submitted

Answer = tuple[int, dict[str, str], bytes]
OWN = {"date", "x-request-id"}
"""Headers that differ between responses."""


class Client:
    """A client connection that sends bytes unchanged."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: Any) -> None:
        self.server = server
        self.writer = writer
        self._reader = reader

    async def answer(self) -> Answer:
        """Return the status, headers and body of the next response."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        status = int(head[0].split()[1])
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        if status == 100:
            return await self.answer()
        return status, headers, await self._reader.readexactly(int(headers["content-length"]))

    async def ask(self, content: bytes) -> Answer:
        self.writer.write(content)
        return await self.answer()

    async def ended(self) -> bool:
        """Wait until the server closes the connection or sends more; return whether it closed."""
        return await self._reader.read(1) == b""

    async def half_read(self, state: State) -> None:
        """Wait until the server has read part of a request, in `state` if it has a fast path."""
        connection = self.connection
        if isinstance(connection, Connection):
            while connection.state is not state:
                await asyncio.sleep(0)
        else:
            while connection.cycle.response_complete:
                await asyncio.sleep(0)

    async def counted(self, status: int) -> None:
        """Wait until a prediction is counted with `status`."""
        app: Any = self.server.config.app
        meter = app.components.metrics.requests.labels("POST", "/predict", status)
        while not meter._sum.get():
            await asyncio.sleep(0)

    @property
    def connection(self) -> Any:
        """Server side of the connection."""
        [connection] = self.server.server_state.connections
        return connection


Scenario = Callable[[Client], Awaitable[None]]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Return the manifest of a line so steep that predictions overflow."""
    spec = TrainingSpec.of(LINE)
    data = datasets.load(spec.dataset, spec.split, tmp_path)
    model, cpu = build(spec, data), torch.device("cpu")
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 1000.0)
    return save_model(tmp_path / "model", model, spec, data.signature, {}, "0" * 64, cpu)


@pytest.fixture(params=[True, False], ids=["fast", "usual"])
def fast_path(request: pytest.FixtureRequest) -> bool:
    """Whether the server has a fast path."""
    on: bool = request.param
    return on


with_fast_path = pytest.mark.parametrize("fast_path", [True])


@pytest.fixture
def serve(
    settings: Settings, manifest: Manifest, tmp_path: Path, fast_path: bool
) -> Callable[[Scenario], None]:
    """Play a scenario on a server with the model `line` loaded."""

    async def play(scenario: Scenario) -> None:
        changes = {"port": 0, "fast_path": fast_path}
        server = Server(create_app(settings.model_copy(update=changes)))
        running = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0)
        database = Database(settings.sqlalchemy_url)
        shutil.copytree(tmp_path / "model", settings.models_dir / "line-1")
        submitted(JobStore(database))
        attempts = AttemptStore(database, settings)
        attempts.succeed(claimed(attempts), manifest, "line-1")
        database.close()
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = Client(server, reader, writer)
        assert isinstance(client.connection, Connection) is fast_path
        assert (await client.ask(request(rows(1))))[0] == 200
        try:
            async with asyncio.timeout(30):
                await scenario(client)
        finally:
            writer.close()
            server.should_exit = True
            await running

    return lambda scenario: asyncio.run(play(scenario))


def request(body: bytes, kind: str = "application/json", query: str = "", **headers: str) -> bytes:
    lines = {"Host": "localhost", "Content-Type": kind, "Content-Length": str(len(body))} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST /predict{query} HTTP/1.1\r\n{head}\r\n".encode() + body


def rows(*values: float, model: str = "line") -> bytes:
    return json.dumps({"model": model, "inputs": [[value] for value in values]}).encode()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


NUMBERS = np.arange(3, dtype="<f4").tobytes()
BYTES = "application/octet-stream"
NEW: dict[bool, dict[str, str]] = {True: {}, False: {"X-New": "1"}}
"""Headers that allow or prevent the caching of a head."""


@pytest.mark.parametrize(
    ("status", "content"),
    {
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
    }.values(),
)
def test_both_ways_answer_alike(
    serve: Callable[[Scenario], None], status: int, content: tuple[Any, ...]
) -> None:
    async def scenario(client: Client) -> None:
        ours = await client.ask(request(*content))
        # A client that waits for 100 Continue goes through ASGI.
        usual = await client.ask(request(*content, Expect="100-continue"))
        for answer in ours, usual:
            assert {"date", "server", "x-request-id"} <= answer[1].keys()
        plain = [(s, {k: v for k, v in h.items() if k not in OWN}, b) for s, h, b in (ours, usual)]
        assert plain[0] == plain[1]
        assert ours[0] == status, ours[2]

    serve(scenario)


@with_fast_path
def test_no_task_is_begun_for_what_is_small_and_right(serve: Callable[[Scenario], None]) -> None:
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


def test_an_unloaded_model_is_refused_both_ways(serve: Callable[[Scenario], None]) -> None:
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


def test_requests_sent_at_once_are_answered_in_order(serve: Callable[[Scenario], None]) -> None:
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


def test_a_request_that_comes_in_pieces(serve: Callable[[Scenario], None]) -> None:
    async def scenario(client: Client) -> None:
        whole = await client.ask(request(rows(1)))
        content = request(rows(1))
        for place in range(0, len(content), 7):
            client.writer.write(content[place : place + 7])
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.answer())[2] == whole[2]

    serve(scenario)


def test_an_id_of_the_client_comes_back_and_requests_are_counted(
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


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_connection_is_closed_for_who_wants_it(
    serve: Callable[[Scenario], None], version: str
) -> None:
    async def scenario(client: Client) -> None:
        content = request(rows(1), Connection="close").replace(b"1.1", version.encode(), 1)
        status, headers, _ = await client.ask(content)
        assert (status, headers["connection"]) == (200, "close")
        assert await client.ended()

    serve(scenario)


@pytest.mark.parametrize("known", [True, False])
def test_what_is_half_read_when_the_service_stops_is_answered(
    serve: Callable[[Scenario], None], known: bool
) -> None:
    async def scenario(client: Client) -> None:
        content = request(rows(1), **NEW[known])
        client.writer.write(content[:-5])
        held = client.connection
        await client.half_read(State.RECEIVING if known else State.HOLDING)
        client.server.should_exit = True
        while held.cycle.keep_alive:
            await asyncio.sleep(0)
        status, headers, _ = await client.ask(content[-5:])
        assert (status, headers["connection"]) == (200, "close")
        assert await client.ended()

    serve(scenario)


@pytest.mark.parametrize("known", [True, False])
def test_a_client_that_leaves_half_way_is_counted(
    serve: Callable[[Scenario], None], known: bool
) -> None:
    async def scenario(client: Client) -> None:
        client.writer.write(request(rows(1), **NEW[known])[:-5])
        client.writer.write_eof()
        client.writer.close()
        await client.counted(499)

    serve(scenario)


@with_fast_path
def test_a_known_head_is_not_parsed_again(serve: Callable[[Scenario], None]) -> None:
    async def scenario(client: Client) -> None:
        known = client.connection
        cycle = known.cycle
        # Other lengths hit the cache too.
        for value in 1, 22, 333:
            status, headers, body = await client.ask(request(rows(value)))
            assert (status, json.loads(body)["model"]) == (200, "line")
            assert headers.keys() == {
                *("date", "server", "content-type", "content-length", "x-request-id")
            }
        assert known.cycle is cycle
        # An invalid request is parsed; the one after it may hit the cache again.
        assert (await client.ask(request(rows(3e38))))[0] == 422
        failed = known.cycle
        assert failed is not cycle
        assert (await client.ask(request(rows(1))))[0] == 200
        assert known.cycle is failed

    serve(scenario)


def test_only_a_head_that_is_the_same_is_known(serve: Callable[[Scenario], None]) -> None:
    async def scenario(client: Client) -> None:
        _, own, _ = await client.ask(request(rows(1), **{"X-Request-ID": "mine-1"}))
        _, same, _ = await client.ask(request(rows(2), **{"X-Request-ID": "mine-1"}))
        _, other, _ = await client.ask(request(rows(2), **{"X-Request-ID": "mine-2"}))
        assert [h["x-request-id"] for h in (own, same, other)] == ["mine-1", "mine-1", "mine-2"]
        for query, status in (("?model=line", 200), ("?model=lime", 404), ("", 422)):
            for _ in range(2):
                assert (await client.ask(request(NUMBERS, BYTES, query)))[0] == status

    serve(scenario)


def test_what_comes_before_an_answer_waits_for_it(serve: Callable[[Scenario], None]) -> None:
    async def scenario(client: Client) -> None:
        known = client.connection
        # The second and part of the third arrive while the first waits for its batch.
        contents = [request(rows(value)) for value in (1, 2, 3)]
        received = b"".join(contents)
        known.data_received(received[: len(contents[0])])
        known.data_received(received[len(contents[0]) : -9])
        known.data_received(received[-9:])
        answers = [json.loads((await client.answer())[2]) for _ in contents]
        values = [answer["predictions"][0]["value"] for answer in answers]
        assert values == sorted(values)
        assert len(set(values)) == 3

    serve(scenario)


def test_who_does_not_read_his_answers_is_read_from_no_more(
    serve: Callable[[Scenario], None],
) -> None:
    async def scenario(client: Client) -> None:
        known = client.connection
        known.pause_writing()  # as the transport does when the client is not reading
        contents = [request(rows(value)) for value in (1, 2, 3)]
        client.writer.write(b"".join(contents))
        while not known.flow.read_paused:
            await asyncio.sleep(0)
        assert len(known.pipeline) == 2
        known.resume_writing()
        answers = [await client.answer() for _ in contents]
        assert [status for status, _, _ in answers] == [200, 200, 200]

    serve(scenario)


@pytest.mark.parametrize(("value", "status"), [(1, 200), (3e38, 422)])
def test_what_was_received_when_the_service_stops_is_answered(
    serve: Callable[[Scenario], None], value: float, status: int
) -> None:
    async def scenario(client: Client) -> None:
        known = client.connection
        contents = [request(rows(value)), request(rows(2)), request(rows(3))]
        known.data_received(b"".join(contents))
        known.shutdown()
        answers = [await client.answer() for _ in contents]
        assert [one for one, _, _ in answers] == [status, 200, 200]
        assert answers[-1][1]["connection"] == "close"
        assert await client.ended()

    serve(scenario)


@with_fast_path
def test_a_client_that_leaves_before_its_batch_is_counted(
    serve: Callable[[Scenario], None],
) -> None:
    async def scenario(client: Client) -> None:
        known = client.connection
        known.data_received(request(rows(1)))
        known.transport.abort()
        await client.counted(499)
        assert known.state is not State.ANSWERING

    serve(scenario)


def test_bodies_have_one_limit_whichever_way_they_take(
    serve: Callable[[Scenario], None], settings: Settings
) -> None:
    settings.max_body_bytes = 1024

    async def scenario(client: Client) -> None:
        for _ in range(2):
            assert (await client.ask(request(rows(*range(64)) + b" " * 1024)))[0] == 413

    serve(scenario)


@with_fast_path
def test_an_answer_that_cannot_be_written_holds_up_no_other(
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


@with_fast_path
def test_a_connection_on_which_nothing_comes_is_closed_in_the_end(
    serve: Callable[[Scenario], None],
) -> None:
    async def scenario(client: Client) -> None:
        known = client.connection
        known.timeout_keep_alive = 0.05
        content = request(rows(1))
        # The timeout runs from the last response on either path, and not during a request.
        assert (await client.ask(request(rows(3e38))))[0] == 422
        assert (await client.ask(content))[0] == 200
        client.writer.write(content[:-5])
        await client.half_read(State.RECEIVING)
        known.timeout_keep_alive_handler()
        assert (await client.ask(content[-5:]))[0] == 200
        assert await client.ended()

    serve(scenario)
