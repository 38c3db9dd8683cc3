"""A busy database, a full queue and a full disk, as the API answers them; without a trainer."""

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import TimeoutError

from service.app import create_app
from service.errors import Overloaded
from service.settings import Settings
from service.storage import database as database_module
from service.storage import write_turns
from tests.conftest import LINE
from tests.service.storage.locks import locked

WRITERS = 60


@pytest.fixture
def limited(settings: Settings) -> Iterator[Callable[..., TestClient]]:
    clients: list[TestClient] = []

    def start(**limits: int) -> TestClient:
        app = create_app(settings.model_copy(update=limits))
        clients.append(TestClient(app, raise_server_exceptions=False))
        return clients[-1].__enter__()

    yield start
    for client in clients:
        client.__exit__(None, None, None)


def test_waiting_writers_get_503_and_stop_no_reader(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More time than all reads below take.
    monkeypatch.setattr(write_turns, "PATIENCE_SECONDS", 20.0)
    job_id = client.post("/jobs", json=LINE).json()["id"]
    paths = ["/jobs", f"/jobs/{job_id}", f"/jobs/{job_id}/metrics", "/models", "/datasets"]
    with ThreadPoolExecutor(WRITERS) as writers:
        with locked(settings.data_dir / "epochd.db"):
            writing = [
                writers.submit(client.post, f"/jobs/{job_id}/{verb}")
                for verb in ("pause", "cancel")
                for _ in range(WRITERS // 2)
            ]
            assert [client.get(path).status_code for path in paths * 4] == [200] * 20
            assert not any(write.done() for write in writing)
        # Once the lock is free, each of them gets its turn.
        statuses = Counter(write.result().status_code for write in writing)
    assert statuses.keys() == {202, 409}
    assert statuses.total() == WRITERS
    assert client.get(f"/jobs/{job_id}").json()["status"] == "cancelled"


def test_a_lock_that_stays_is_answered_with_503_and_when_to_retry(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_turns, "PATIENCE_SECONDS", 0.2)
    with locked(settings.data_dir / "epochd.db"), ThreadPoolExecutor(WRITERS) as writers:
        responses = list(writers.map(lambda _: client.post("/jobs", json=LINE), range(WRITERS)))
    assert {response.status_code for response in responses} == {503}
    assert {response.headers["retry-after"] for response in responses} == {"1"}
    assert {r.json()["detail"].partition(":")[0] for r in responses} == {"the database is busy"}
    assert client.post("/jobs", json=LINE).status_code == 202


def test_admission_takes_none_of_the_time_to_write(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first admission of a process takes seconds, and no job of a class that submits at once
    # is refused for it.
    monkeypatch.setattr(write_turns.WriteTurns, "turn", _no_turn)
    assert client.post("/jobs", json=LINE | {"threads": 1024}).status_code == 422
    assert client.post("/jobs", json=LINE).status_code == 503


@asynccontextmanager
async def _no_turn(_: object) -> AsyncIterator[None]:
    raise Overloaded("the database is busy")
    yield


def test_a_pool_without_a_free_connection_is_answered_with_503(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> None:
        raise TimeoutError("QueuePool limit of size 20 overflow 40 reached")

    monkeypatch.setattr(database_module.Database, "read", exhausted)
    response = client.get("/jobs")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"


def test_the_queue_is_bounded_however_many_submit_at_once(
    limited: Callable[..., TestClient],
) -> None:
    client = limited(max_queued=5)
    with ThreadPoolExecutor(50) as pool:
        responses = list(pool.map(lambda _: client.post("/jobs", json=LINE), range(50)))
    assert Counter(response.status_code for response in responses) == {202: 5, 429: 45}
    refused = next(response for response in responses if response.status_code == 429)
    assert refused.headers["retry-after"] == "10"
    assert "5 jobs are queued, the limit of EPOCHD_MAX_QUEUED" in refused.json()["detail"]
    assert len(client.get("/jobs").json()["data"]) == 5
    # A paused job has left the queue, and must find a place to come back.
    first, second = (job["id"] for job in client.get("/jobs").json()["data"][:2])
    assert client.post(f"/jobs/{first}/pause").status_code == 202
    assert client.post("/jobs", json=LINE).status_code == 202
    assert client.post(f"/jobs/{first}/resume").status_code == 429
    assert client.get(f"/jobs/{first}").json()["status"] == "paused"
    assert client.post(f"/jobs/{second}/cancel").status_code == 202
    assert client.post(f"/jobs/{first}/resume").status_code == 202
    assert client.post(f"/jobs/{second}/retry").status_code == 429


def test_a_full_disk_refuses_new_jobs_and_uploads_but_answers_a_retry(
    limited: Callable[..., TestClient], settings: Settings
) -> None:
    key = {"Idempotency-Key": "4f1c"}
    accepted = limited().post("/jobs", json=LINE, headers=key)
    client = limited(min_free_mb=10**9)
    for refused in (
        client.post("/jobs", json=LINE),
        client.post("/datasets", content=b"a,b\n1,2\n"),
    ):
        assert refused.status_code == 507
        assert "EPOCHD_MIN_FREE_MB leaves" in refused.json()["detail"]
    assert list(settings.incoming_dir.iterdir()) == []
    again = client.post("/jobs", json=LINE, headers=key)
    assert (again.status_code, again.json()["id"]) == (202, accepted.json()["id"])
    ready = client.get("/health/ready")
    assert ready.status_code == 200
    [warning] = ready.json()["warnings"]
    assert warning.startswith("uploads and new jobs are refused")


def test_a_damaged_database_is_answered_with_503(client: TestClient, settings: Settings) -> None:
    client.post("/jobs", json=LINE)
    file = settings.data_dir / "epochd.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xff" * (file.stat().st_size - 4096))
    client.app_state["components"].database.close()  # its connections have pages in memory
    response = client.get("/jobs")
    assert response.status_code == 503
    assert "is damaged; restore a backup" in response.json()["detail"]
