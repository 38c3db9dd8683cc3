"""Reports of an attempt while another process has locked the database."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from ml.training.loop import Report
from service.jobs.attempts import AttemptStore, LeaseLost
from service.jobs.failures import SERVICE_ENDED
from service.jobs.store import JobStore
from service.settings import Settings
from service.storage.database import Database
from service.training import reporter as reporter_module
from service.training.reporter import MAX_WAITING_EVENTS, Reporter
from tests.service.conftest import claimed, submitted
from tests.service.storage.locks import locked


@pytest.fixture
def impatient(tmp_path: Path, database: Database, settings: Settings) -> Iterator[AttemptStore]:
    """Attempts of a trainer that tries again after moments."""
    trainers = Database(f"sqlite:///{tmp_path}/epochd.db", patience=0.05)
    yield AttemptStore(trainers, settings)
    trainers.close()


def report(step: int) -> Report:
    return Report("step", 1, step, {"loss": float(step)})


def test_a_lock_neither_stops_the_training_nor_loses_a_report_or_a_request(
    jobs: JobStore, impatient: AttemptStore, tmp_path: Path
) -> None:
    job_id = submitted(jobs, report_every=1)
    waits = Event()
    reporter = Reporter(impatient, claimed(impatient), waits.set)
    with reporter:
        jobs.pause(job_id)
        with locked(tmp_path / "epochd.db"):
            reporter.report(report(1))
            assert waits.wait(120)
            # The request is read although nothing can be written.
            while reporter.requested_action() is None:
                time.sleep(0.01)
            assert reporter.requested_action() == "pause"
            reporter.report(report(2))
            assert not reporter.try_flush()
        reporter.report(report(3))
    assert [m.step for m in jobs.metrics(job_id, None, 10, 0).data] == [1, 2, 3]
    assert jobs.fetch(job_id).status == "running"


def test_a_job_that_was_taken_ends_the_attempt_even_under_a_lock(
    jobs: JobStore, attempts: AttemptStore, impatient: AttemptStore, tmp_path: Path
) -> None:
    submitted(jobs)
    waits = Event()
    reporter = Reporter(impatient, claimed(impatient), waits.set)

    def train_under_a_lock() -> None:
        with reporter:
            attempts.expire_leases(SERVICE_ENDED, all_running=True)
            with locked(tmp_path / "epochd.db"):
                while True:
                    reporter.requested_action()
                    time.sleep(0.01)

    with pytest.raises(LeaseLost):
        train_under_a_lock()


def test_what_waits_is_bounded(
    jobs: JobStore,
    impatient: AttemptStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reporter_module, "FLUSH_SECONDS", 0.001)
    job_id = submitted(jobs, report_every=1)
    waits = Event()
    reporter = Reporter(impatient, claimed(impatient), waits.set)
    with reporter, locked(tmp_path / "epochd.db"):
        for number in range(3000):
            reporter.log("info", f"line {number}")
        for number in range(1, 3 * MAX_WAITING_EVENTS + 1):
            reporter.report(report(number))
        for _ in range(2):
            waits.clear()
            assert waits.wait(120)
        assert len(reporter._waiting) <= MAX_WAITING_EVENTS
    lines = jobs.logs(job_id, 2000, 0).data
    assert [line.message for line in lines] == [f"line {number}" for number in range(2000, 3000)]
    steps = jobs.metrics(job_id, "step", 20_000, 0).data
    assert [steps[0].step, steps[-1].step] == [1, 3 * MAX_WAITING_EVENTS]
