"""A server with the model `line` loaded, and a client that sends it bytes unchanged."""

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
from ml.training.initial_model import build
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
VARYING_HEADERS = {"date", "x-request-id"}
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
def document() -> dict[str, Any]:
    """Return the job that trains the model."""
    return LINE


@pytest.fixture
def manifest(tmp_path: Path, document: dict[str, Any]) -> Manifest:
    """Return the manifest of a line so steep that large inputs overflow."""
    spec = TrainingSpec.of(document)
    data = datasets.load(spec.dataset, spec.split, tmp_path)
    model, cpu = build(spec, data), torch.device("cpu")
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 1000.0)
    return save_model(tmp_path / "model", model, spec, data.signature, {}, "0" * 64, cpu)


@pytest.fixture(params=[True, False], ids=["fast", "asgi"])
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
            async with asyncio.timeout(120):
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
HEADERS: dict[bool, dict[str, str]] = {True: {}, False: {"X-New": "1"}}
"""Request headers with which a head is or is not in the cache after one request."""
