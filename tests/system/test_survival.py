"""Jobs whose processes are killed, stuck, paused or moved end with the same result."""

import os
import select
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LINE, PLANE
from tests.system.server import PATIENCE, Server, serving
from tests.system.test_uploads import houses, upload

# All kinds of state: dropout, momentum, a schedule, a validation split, averages, best weights, the
# time spent, and a checkpoint every few epochs. The job takes seconds, so that a kill after an
# epoch's event hits it.
SPEC: dict[str, Any] = PLANE | {
    "name": "survivor",
    "dataset": PLANE["dataset"] | {"noise": 0.5},
    "model": {"kind": "mlp", "hidden": [16, 16], "dropout": 0.3},
    "optimizer": {"kind": "adam", "lr": 0.01},
    "schedule": {"kind": "one_cycle"},
    "split": {"validation": 0.2, "test": 0.1},
    "clip_grad_norm": 1.0,
    "average": {"kind": "ema", "decay": 0.99},
    "keep_best": True,
    "test_every": 10,
    "max_seconds": 1e9,
    "epochs": 200,
    "report_every": 50,
    "checkpoint_seconds": 0.05,
    "max_attempts": 20,
}
LONG: dict[str, Any] = LINE | {"name": "long", "epochs": 1_000_000}
HANG = "hang@data loaded"
KILLS = [
    "kill@data loaded",
    "kill@checkpoint written",
    "kill@checkpoint renamed",
    "kill@metrics half written",
    "kill@artifact renamed",
]


class Faults:
    """Faults of the trainers of a service. Each strikes once after it is armed."""

    def __init__(self, directory: Path, faults: Sequence[str]) -> None:
        directory.mkdir()
        self._markers = {fault: directory / fault for fault in faults}
        for marker in self._markers.values():
            marker.touch()

    def __str__(self) -> str:
        return ";".join(f"{fault}@{marker}" for fault, marker in self._markers.items())

    @contextmanager
    def armed(self, fault: str) -> Iterator[Path]:
        """Arm `fault`. The file appears when it strikes."""
        marker = self._markers[fault]
        marker.unlink()
        try:
            yield marker
        finally:
            marker.touch()


@dataclass(frozen=True)
class Shared:
    """A service with one trainer that most tests here share."""

    server: Server
    faults: Faults
    data_dir: Path

    @property
    def checkpoints(self) -> Path:
        return self.data_dir / "checkpoints"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    directory = tmp_path_factory.mktemp("survival")
    faults = Faults(directory / "faults", [HANG, *KILLS])
    settings = {"trainers": 1, "retry_seconds": 0, "shutdown_timeout_seconds": 6, "fault": faults}
    with serving(directory / "data", **settings) as server:
        yield Shared(server, faults, directory / "data")


@pytest.fixture
def shared(started: Shared) -> Iterator[Shared]:
    yield started
    # Otherwise a failed test would leave the trainer busy for the next one.
    started.server.cancel_all()


@pytest.fixture(scope="module")
def undisturbed(started: Shared) -> tuple[str, list[Any]]:
    """Outcome of SPEC without interruptions."""
    return started.server.outcome(started.server.run(SPEC | {"checkpoint_seconds": 1e9}))


def is_epoch(event: dict[str, Any]) -> bool:
    return bool(event["kind"] == "epoch")


def assert_one_at_a_time(attempts: list[dict[str, Any]]) -> None:
    assert [a["attempt"] for a in attempts] == list(range(1, len(attempts) + 1))
    for earlier, later in pairwise(attempts):
        assert earlier["ended_at"] <= later["started_at"]


def assert_ends_undisturbed(
    server: Server, job_id: str, attempts: int, undisturbed: tuple[str, list[Any]]
) -> None:
    job = server.wait(job_id)
    assert (job["status"], job["attempt"]) == ("succeeded", attempts)
    assert server.outcome(job) == undisturbed
    assert_one_at_a_time(server.attempts(job_id))


def assert_ended(descriptors: Sequence[int], seconds: float) -> None:
    """Assert that the processes behind pidfds, which become readable at their end, have ended or
    do so within `seconds` each."""
    for descriptor in descriptors:
        ended, _, _ = select.select([descriptor], [], [], seconds)
        os.close(descriptor)
        assert ended, "a trainer outlived its service"


def test_kills_at_critical_points_change_no_result(
    shared: Shared, undisturbed: tuple[str, list[Any]]
) -> None:
    server, before = shared.server, set(shared.checkpoints.iterdir())
    with ExitStack() as armed:
        markers = [armed.enter_context(shared.faults.armed(fault)) for fault in KILLS]
        job_id = server.submit(SPEC)
        assert_ends_undisturbed(server, job_id, len(KILLS) + 1, undisturbed)
        assert all(marker.exists() for marker in markers)
    outcomes = [attempt["outcome"] for attempt in server.attempts(job_id)]
    assert outcomes == [*["trainer_died"] * len(KILLS), "succeeded"]
    assert set(shared.checkpoints.iterdir()) == before


def test_killed_cross_validation_ends_with_the_same_result(shared: Shared) -> None:
    server = shared.server
    spec = {
        "name": "folded",
        "dataset": {"kind": "upload", "id": upload(server, houses(1000), target="price")},
        "model": {"kind": "mlp", "hidden": [16, 16]},
        "split": {"folds": 3},
        "epochs": 40,
        "batch_size": 16,
        "checkpoint_seconds": 0.05,
    }
    outcomes = []
    for kills in (0, 1):
        job_id = server.submit(spec)
        for _ in range(kills):
            server.until(job_id, lambda event: bool(event["kind"] == "fold"))
            [trainer] = server.trainers()
            os.kill(trainer, signal.SIGKILL)
            server.wait(job_id, "queued")
        job = server.wait(job_id)
        assert (job["status"], job["attempt"]) == ("succeeded", kills + 1)
        outcomes.append((server.outcome(job), job["metrics"]))
    assert outcomes[0] == outcomes[1]


def test_unexpected_error_fails_the_job_and_keeps_the_trainer(shared: Shared) -> None:
    server = shared.server
    version = server.run(LINE)["model"]["version"]
    trainers = server.trainers()
    models = shared.data_dir / "models"
    aside = models.rename(shared.data_dir / "aside")
    models.write_text("in the way")
    try:
        job = server.wait(server.submit(LINE))
    finally:
        models.unlink()
        aside.rename(models)
    assert (job["status"], job["error"]["kind"]) == ("failed", "internal")
    assert "Traceback" in job["error"]["traceback"]
    assert server.run(LINE)["model"]["version"] == version + 1
    assert server.trainers() == trainers


def test_stopped_and_killed_services_leave_no_trainer_and_their_jobs_resume(
    tmp_path: Path, undisturbed: tuple[str, list[Any]]
) -> None:
    data_dir = tmp_path / "data"
    faults = Faults(tmp_path / "faults", [HANG])
    settings = {"trainers": 2, "shutdown_timeout_seconds": 6, "fault": faults}
    with serving(data_dir, **settings) as server:
        with faults.armed(HANG) as marker:
            stuck = server.submit(LINE)
            server.wait(stuck, "running")
            while not marker.exists():
                server.client.get("/health/live")
        events = server.events(stuck)
        next(events)
        job_id = server.submit(SPEC)
        server.until(job_id, is_epoch)
        trainers = server.trainers()
        assert len(trainers) == 2
        descriptors = [os.pidfd_open(trainer) for trainer in trainers]
        server.process.terminate()
        server.process.wait(PATIENCE)
        assert [e["data"]["status"] for e in events if e["kind"] == "status"] == ["running"]
        assert_ended(descriptors, seconds=0)
    assert list((data_dir / "checkpoints" / job_id).iterdir())
    with closing(sqlite3.connect(data_dir / "epochd.db")) as database:
        rows = database.execute("SELECT id, status, error FROM jobs").fetchall()
    assert sorted(rows) == sorted([(stuck, "queued", None), (job_id, "queued", None)])

    with serving(data_dir, trainers=1) as server:
        server.wait(stuck)
        dataset_id = upload(server, houses(), target="price")
        server.until(job_id, is_epoch)
        descriptors = [os.pidfd_open(trainer) for trainer in server.trainers()]
        server.process.kill()
        server.process.wait()
        assert_ended(descriptors, seconds=PATIENCE)

    with serving(data_dir, trainers=1) as server:
        # A killed service does not release its jobs.
        assert_ends_undisturbed(server, job_id, 3, undisturbed)
        outcomes = [attempt["outcome"] for attempt in server.attempts(job_id)]
        assert outcomes == ["released", "trainer_died", "succeeded"]
        assert server.client.get(f"/datasets/{dataset_id}/preview").status_code == 200


def test_paused_job_frees_its_trainer_and_resumes(
    shared: Shared, undisturbed: tuple[str, list[Any]]
) -> None:
    server = shared.server
    job_id = server.submit(SPEC | {"checkpoint_seconds": 1e9})
    server.until(job_id, is_epoch)
    assert server.client.post(f"/jobs/{job_id}/pause").status_code == 202
    paused = server.wait(job_id, "paused")
    assert 0 < paused["progress"]["step"] < paused["progress"]["steps"]
    assert server.run(LINE)["status"] == "succeeded"
    assert server.job(job_id)["status"] == "paused"
    server.client.post(f"/jobs/{job_id}/resume")
    assert server.outcome(server.wait(job_id)) == undisturbed
    [log] = [
        line["message"]
        for line in server.client.get(f"/jobs/{job_id}/logs").json()["data"]
        if line["message"].startswith("attempt 2")
    ]
    assert " from step 0 " not in log


def test_stuck_trainer_is_killed_and_replaced(shared: Shared) -> None:
    server = shared.server
    with shared.faults.armed(HANG):
        job_id = server.submit(LINE)
        server.wait(job_id, "running")
        [stuck] = server.trainers()
        server.client.post(f"/jobs/{job_id}/cancel")
        job = server.wait(job_id, "cancelled")
    assert job["error"] is None
    assert server.run(LINE)["status"] == "succeeded"
    assert stuck not in server.trainers()


def test_job_of_a_frozen_trainer_is_reassigned(
    tmp_path: Path, undisturbed: tuple[str, list[Any]]
) -> None:
    with serving(
        tmp_path / "data", trainers=2, lease_seconds=5, shutdown_timeout_seconds=3
    ) as server:
        job_id = server.submit(SPEC)
        server.until(job_id, is_epoch)
        frozen = int(server.attempts(job_id)[0]["trainer"].rpartition(":")[2])
        os.kill(frozen, signal.SIGSTOP)
        job = server.wait(job_id)
        assert [a["outcome"] for a in server.attempts(job_id)] == ["trainer_died", "succeeded"]
        assert server.outcome(job) == undisturbed
        # The pool is complete again: two jobs run at once.
        jobs = [server.submit(LONG) for _ in range(2)]
        for job_id in jobs:
            server.wait(job_id, "running")
        assert frozen not in server.trainers()


def test_job_over_its_time_limit_fails_and_can_be_retried(shared: Shared) -> None:
    server = shared.server
    job_id = server.submit(LONG | {"timeout_seconds": 1})
    job = server.wait(job_id)
    assert (job["status"], job["attempt"]) == ("failed", 1)
    assert job["error"] == {
        "kind": "timeout",
        "message": "the attempt reached its timeout_seconds of 1",
        "traceback": None,
    }
    server.client.post(f"/jobs/{job_id}/retry")
    began = server.until(job_id, is_epoch)
    assert began["step"] >= job["progress"]["step"]
    again = server.wait(job_id)
    assert (again["status"], again["attempt"]) == ("failed", 2)
    assert again["progress"]["step"] > job["progress"]["step"]


def test_highest_priority_runs_first(shared: Shared) -> None:
    server = shared.server
    blocking = server.submit(LONG)
    server.wait(blocking, "running")
    low, high = (server.submit(LINE | {"priority": p}) for p in (1, 2))
    server.client.post(f"/jobs/{blocking}/cancel")
    started = [server.wait(job_id)["started_at"] for job_id in (low, high)]
    assert started[1] < started[0]


def test_job_with_its_own_error_is_not_retried(shared: Shared) -> None:
    server = shared.server
    diverging = PLANE | {"name": "diverges", "optimizer": {"kind": "sgd", "lr": 1e6}}
    job = server.wait(server.submit(diverging | {"model": {"kind": "mlp", "hidden": [32, 32]}}))
    assert (job["status"], job["attempt"]) == ("failed", 1)


def test_deleted_job_leaves_no_files(shared: Shared) -> None:
    server = shared.server
    job_id = server.submit(LONG)
    server.until(job_id, is_epoch)
    server.client.post(f"/jobs/{job_id}/pause")
    server.wait(job_id, "paused")
    assert (shared.checkpoints / job_id).exists()
    assert server.client.delete(f"/jobs/{job_id}").status_code == 204
    assert not (shared.checkpoints / job_id).exists()
    assert server.client.get(f"/jobs/{job_id}/events").status_code == 404
