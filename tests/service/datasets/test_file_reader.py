"""The process that reads an upload: its limits, its death, and clients that leave."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.requests import Request
from starlette.types import Message

from ml.ingest.options import Options
from ml.ingest.schema import Schema
from service import processes
from service.access.caller import ANYBODY, SCOPE_KEY
from service.app import create_app
from service.datasets.file_reader import LARGE_BYTES, FileReader
from service.datasets.schemas import UploadQuery
from service.datasets.store import DatasetStore
from service.datasets.uploads import DatasetUploader
from service.errors import BadRequest, ReaderFailed, Unprocessable
from service.settings import Settings
from service.storage.database import Database
from service.storage.disk_space import DiskSpace
from service.storage.write_turns import WriteTurns
from service.work import Work

TABLE = b"a,b\n1,2\n3,4\n"
Start = Callable[[str], Awaitable[processes.Child]]


def read(settings: Settings, tmp_path: Path, content: bytes = TABLE) -> Schema:
    file = tmp_path / "file"
    file.write_bytes(content)

    async def reading() -> Schema:
        return await FileReader(settings).read(file, tmp_path / "rows", Options())

    return asyncio.run(reading())


def starting(monkeypatch: pytest.MonkeyPatch, wrapped: Callable[[Start], Start]) -> None:
    monkeypatch.setattr(processes, "start", wrapped(processes.start))


def test_a_file_is_read(settings: Settings, tmp_path: Path) -> None:
    assert read(settings, tmp_path).rows == 2


def test_a_process_that_is_killed_is_not_the_clients_fault(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(start: Start) -> Start:
        async def start_and_kill(module: str, **options: Any) -> processes.Child:
            process = await start(module, **options)
            process.kill()
            return process

        return start_and_kill

    starting(monkeypatch, killed)
    with pytest.raises(
        ReaderFailed, match=r"died \(killed by SIGKILL\); send the file again"
    ) as death:
        read(settings, tmp_path)
    assert death.value.status == 503
    assert death.value.headers == {"Retry-After": "10"}
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        response = client.post("/datasets", content=TABLE)
        assert (response.status_code, response.headers["retry-after"]) == (503, "10")
        assert client.get("/datasets").json()["data"] == []
        assert list(settings.incoming_dir.iterdir()) == []


def test_a_process_that_cannot_start_is_not_the_clients_fault(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(_: str, **options: Any) -> processes.Child:
        raise OSError(11, "Resource temporarily unavailable")

    starting(monkeypatch, lambda _: refused)
    with pytest.raises(ReaderFailed, match="could not start: Resource temporarily unavailable"):
        read(settings, tmp_path)


def test_a_process_that_stalls_is_not_the_clients_fault(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stalled(child: processes.Child, content: bytes) -> bytes:
        return b'{"stalled": 30}'

    monkeypatch.setattr(processes.Child, "communicate", stalled)
    with pytest.raises(ReaderFailed, match="did nothing for 30 seconds; send the file again"):
        read(settings, tmp_path)


@pytest.mark.parametrize("megabytes", [1, 200, 400])
def test_the_memory_limit_is_named(settings: Settings, tmp_path: Path, megabytes: int) -> None:
    row = b"x" * 1_000_000
    tight = settings.model_copy(update={"ingest_mb": megabytes})
    with pytest.raises(Unprocessable, match=f"over {megabytes} MiB of memory .*EPOCHD_INGEST_MB"):
        read(tight, tmp_path, b"a,b\n" + (row + b",1\n") * 300)


def test_last_words_of_a_library_without_memory(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def aborted(start: Start) -> Start:
        async def start_and_abort(module: str, **options: Any) -> processes.Child:
            process = await start(module, **options)
            process.kill()
            words = "terminate called after throwing an instance of 'std::bad_alloc'"
            (tmp_path / "errors").write_text(words)
            return process

        return start_and_abort

    starting(monkeypatch, aborted)
    with pytest.raises(Unprocessable, match="EPOCHD_INGEST_MB"):
        read(settings, tmp_path)


def test_the_time_limit_is_named(settings: Settings, tmp_path: Path) -> None:
    hurried = settings.model_copy(update={"ingest_seconds": 0.01})
    with pytest.raises(Unprocessable, match=r"over 0.01 seconds to parse.*EPOCHD_INGEST_SECONDS"):
        read(hurried, tmp_path)


def test_large_files_leave_a_reader_to_small_ones(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = tmp_path / "large", tmp_path / "small"
    with large.open("wb") as file:
        file.truncate(LARGE_BYTES)
    small.write_bytes(TABLE)
    begun: list[str] = []

    async def run(self: FileReader, file: Path, rows: Path, options: Options) -> object:
        begun.append(file.name)
        if file == large:
            await asyncio.Event().wait()
        return {"invalid": "read"}

    monkeypatch.setattr(FileReader, "_run", run)

    async def reading() -> None:
        reader = FileReader(settings)
        waiting = [asyncio.create_task(reader.read(large, tmp_path, Options())) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Unprocessable, match="read"):
            await reader.read(small, tmp_path, Options())
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)

    asyncio.run(reading())
    assert begun == ["large", "small"]


def test_a_client_that_leaves_frees_the_reader(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[processes.Child] = []

    def noted(start: Start) -> Start:
        async def start_and_note(module: str, **options: Any) -> processes.Child:
            started.append(await start(module, **options))
            return started[-1]

        return start_and_note

    starting(monkeypatch, noted)

    async def upload() -> None:
        settings.incoming_dir.mkdir(parents=True)
        messages: list[Message] = [{"type": "http.request", "body": TABLE, "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            while not started:
                await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}

        scope = {"type": "http", "method": "POST", "path": "/datasets", "headers": []}
        scope |= {SCOPE_KEY: ANYBODY}
        work = Work(memory=1, pixels=1)
        uploader = DatasetUploader(
            DatasetStore(database, settings), settings, work, WriteTurns(), DiskSpace(settings)
        )
        with pytest.raises(BadRequest, match="interrupted"):
            await uploader.upload(Request(scope, receive), UploadQuery())

    asyncio.run(upload())
    assert started[0].returncode is not None
    assert list(settings.incoming_dir.iterdir()) == []
