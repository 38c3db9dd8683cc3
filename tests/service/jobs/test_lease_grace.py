"""Leases that nobody could renew."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import SQLAlchemyError

from service.jobs import lease_grace
from service.jobs.attempts import AttemptStore
from service.jobs.failures import LEASE_EXPIRED
from service.jobs.lease_grace import LeaseGrace
from service.jobs.store import JobStore
from service.storage.database import Database, writing_within
from tests.service.conftest import claimed, submitted
from tests.service.jobs.test_attempts import ago, set_row
from tests.service.storage.locks import locked


class Clock:
    """Both clocks of the module; `suspend` lets only that of the day go on."""

    def __init__(self) -> None:
        self.day = 1e9
        self.running = 1e3

    def time(self) -> float:
        return self.day

    def monotonic(self) -> float:
        return self.running

    def wait(self, seconds: float) -> None:
        self.day += seconds
        self.running += seconds

    def suspend(self, seconds: float) -> None:
        self.day += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease_grace, "time", clock)
    return clock


def test_leases_are_judged_while_time_passes_as_usual(clock: Clock) -> None:
    grace = LeaseGrace(30, most_between=20)
    for _ in range(5):
        assert not grace.covers_now(clock.time())
        clock.wait(10)


def test_after_a_wait_for_the_lock_they_get_time(clock: Clock) -> None:
    grace = LeaseGrace(30, most_between=20)
    requested_at = clock.time()
    clock.wait(5)
    assert grace.covers_now(requested_at)
    clock.wait(15)
    assert grace.covers_now(clock.time())
    clock.wait(16)
    assert not grace.covers_now(clock.time())


def test_after_a_suspension_they_get_time(clock: Clock) -> None:
    grace = LeaseGrace(30, most_between=20)
    assert not grace.covers_now(clock.time())
    clock.suspend(3600)
    assert grace.covers_now(clock.time())
    clock.wait(15)
    assert grace.covers_now(clock.time())
    clock.wait(16)
    assert not grace.covers_now(clock.time())


def test_a_lease_that_expired_under_a_lock_is_not_taken(
    jobs: JobStore, attempts: AttemptStore, database: Database, tmp_path: Path
) -> None:
    job_id = submitted(jobs)
    claim = claimed(attempts)
    set_row(database, job_id, lease_expires_at=ago(1))
    with locked(tmp_path / "epochd.db"), writing_within(0.1), pytest.raises(SQLAlchemyError):
        attempts.expire_leases(LEASE_EXPIRED)
    assert attempts.expire_leases(LEASE_EXPIRED) == 0
    attempts.heartbeat(claim)
    assert attempts.overdue(claim, timedelta(seconds=60)) is None
    assert jobs.fetch(job_id).status == "running"
