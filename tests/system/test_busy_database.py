"""A database that another process has locked for longer than a lease, under a service at work."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import LINE
from tests.system.server import Server, serving

LEASE_SECONDS = 5
BEYOND_SECONDS = 3
"""Time for which a lock outlasts the lease."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def service(directory: Path) -> Iterator[Server]:
    # A trainer that did not perform a request would be killed after 1.4 seconds.
    with serving(
        directory, trainers=1, lease_seconds=LEASE_SECONDS, shutdown_timeout_seconds=2
    ) as server:
        yield server


@pytest.fixture
def lock(directory: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(directory / "epochd.db", isolation_level=None)) as connection:
        yield connection


def training(server: Server) -> str:
    job_id = server.submit(LINE | {"epochs": 1_000_000, "report_every": 1})
    server.until(job_id, lambda event: event["kind"] == "epoch")
    return job_id


def outlast_lease(connection: sqlite3.Connection, job_id: str) -> None:
    """Return when the job's lease has been over for a while, although nobody could renew it."""
    query = "SELECT lease_expires_at FROM jobs WHERE id = ?"
    [expiry] = connection.execute(query, [job_id]).fetchone()
    over = datetime.fromisoformat(expiry).replace(tzinfo=UTC).timestamp() + BEYOND_SECONDS
    while time.time() < over:
        time.sleep(0.1)
    assert connection.execute(query, [job_id]).fetchone() == (expiry,)


def test_a_job_outlives_a_lock_and_the_answers_name_it(
    service: Server, lock: sqlite3.Connection
) -> None:
    job_id = training(service)
    lock.execute("BEGIN IMMEDIATE")
    epoch = service.job(job_id)["progress"]["epoch"]
    refused = service.client.post("/jobs", json=LINE)
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert "the database is busy" in refused.json()["detail"]
    ready = service.client.get("/health/ready")
    assert ready.status_code == 503
    assert "the database is busy" in ready.json()["detail"]
    assert service.client.get("/jobs").status_code == 200
    outlast_lease(lock, job_id)
    assert service.job(job_id)["progress"]["epoch"] == epoch
    lock.execute("COMMIT")
    # The reports of the meantime are written.
    service.until(job_id, lambda event: event["kind"] == "epoch" and event["epoch"] > epoch + 100)
    job = service.job(job_id)
    assert (job["status"], job["attempt"]) == ("running", 1)
    assert service.client.get("/health/ready").status_code == 200
    service.client.post(f"/jobs/{job_id}/cancel")
    assert service.wait(job_id)["status"] == "cancelled"


def test_an_acknowledged_pause_outlives_a_lock(service: Server, lock: sqlite3.Connection) -> None:
    job_id = training(service)
    # As acknowledged in the moment before the lock.
    lock.execute("BEGIN IMMEDIATE")
    lock.execute(
        "UPDATE jobs SET requested_action = 'pause', requested_at = ? WHERE id = ?",
        [datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"), job_id],
    )
    lock.execute("COMMIT")
    lock.execute("BEGIN IMMEDIATE")
    outlast_lease(lock, job_id)
    lock.execute("COMMIT")
    assert service.wait(job_id, "paused", "queued", *("failed", "succeeded"))["status"] == "paused"
    [attempt] = service.attempts(job_id)
    assert attempt["outcome"] == "pause"
    service.client.post(f"/jobs/{job_id}/resume")
    service.wait(job_id, "running")
    service.client.post(f"/jobs/{job_id}/cancel")
    job = service.wait(job_id, "cancelled")
    assert job["attempt"] == 2
