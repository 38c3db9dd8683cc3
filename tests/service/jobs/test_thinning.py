"""Metrics of long jobs, on a real SQLite file."""

from itertools import pairwise
from typing import Literal

import pytest
from sqlalchemy import func, select

from ml.training.loop import Report
from service.jobs import thinning
from service.jobs.attempts import AttemptStore
from service.jobs.events import NewEvent
from service.jobs.store import JobStore
from service.jobs.thinning import stride, without_surplus
from service.storage.database import Database
from service.storage.tables import EventRow
from tests.service.conftest import claimed, submitted

EVERY = 3
"""Steps between two reports."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "MAX_REPORTS", 100)
    monkeypatch.setattr(thinning, "RECENT_REPORTS", 20)
    monkeypatch.setattr(thinning, "THIN_EVERY", 10)


def reports(first: int, last: int) -> list[NewEvent]:
    """Return the reports of the steps numbered `first` to `last`; each also ends an epoch."""
    levels: dict[Literal["step", "epoch"], str] = {"step": "loss", "epoch": "train_loss"}
    return [
        NewEvent.from_report(Report(level, number, number * EVERY, {name: float(number)}))
        for number in range(first, last + 1)
        for level, name in levels.items()
    ]


def numbers(jobs: JobStore, job_id: str, level: str) -> list[int]:
    return [m.step // EVERY for m in jobs.metrics(job_id, level, 1000, 0).data]


def count(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).where(EventRow.kind != "status")) or 0


@pytest.mark.parametrize(
    ("newest", "distance"), [(0, 1), (1, 1), (100, 1), (101, 2), (200, 2), (201, 4), (10**6, 16384)]
)
def test_the_stride_doubles_with_the_reports(newest: int, distance: int) -> None:
    assert stride(newest) == distance
    assert newest // distance <= 100


def test_the_reports_of_a_job_are_bounded_at_all_times_and_stay_even(
    jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    job_id = submitted(jobs, report_every=EVERY, epochs=100_000)
    claim = claimed(attempts)
    seen: set[int] = set()
    last = 0
    for number in range(1, 2001, 7):
        attempts.heartbeat(claim, reports(number, number + 6))
        # A stream that reads after every write misses nothing.
        page = jobs.metrics(job_id, "step", 20, last)
        last = page.data[-1].id
        seen |= {record.step // EVERY for record in page.data}
        assert count(database) <= 2 * (100 + 20 + 10 + 7 + 1)
    assert seen == set(range(1, 2003))
    for level in ("step", "epoch"):
        kept = numbers(jobs, job_id, level)
        assert kept[0] == 1
        assert set(range(32, 1970, 32)) < set(kept)
        assert set(range(1983, 2003)) < set(kept)
        assert len(kept) <= 100 + 20 + 10
    assert jobs.fetch(job_id).metrics == {"loss": 2002.0, "train_loss": 2002.0}


def test_an_interrupted_job_ends_with_the_same_history(
    jobs: JobStore, attempts: AttemptStore
) -> None:
    histories = []
    for interrupted in (False, True):
        job_id = submitted(jobs, report_every=EVERY, epochs=100_000)
        claim = claimed(attempts)
        for number in range(1, 1000, 10):
            attempts.heartbeat(claim, reports(number, number + 9))
            if interrupted and number == 501:
                attempts.mark_started(claim, "cpu", "resident", 333 * EVERY, 3000)
                # Repeats steps whose reports have been deleted meanwhile.
                attempts.heartbeat(claim, reports(334, 510))
        histories.append((numbers(jobs, job_id, "step"), numbers(jobs, job_id, "epoch")))
    assert histories[0] == histories[1]


def test_a_chart_is_even_although_recent_reports_are_not_thinned(
    jobs: JobStore, attempts: AttemptStore
) -> None:
    job_id = submitted(jobs, report_every=EVERY, epochs=100_000)
    attempts.heartbeat(claimed(attempts), reports(1, 2002))
    levels: tuple[Literal["step", "epoch"], ...] = ("step", "epoch")
    for level in levels:
        shown = [m.step // EVERY for m in jobs.metric_series(job_id, level, 50)]
        assert (shown[0], shown[-1]) == (1, 2002)
        assert len(shown) <= 50
        assert {b - a for a, b in pairwise(shown[1:-1])} == {64}


def test_events_that_wait_lose_only_what_would_be_deleted(
    jobs: JobStore, attempts: AttemptStore
) -> None:
    line = NewEvent("log", {"level": "info", "message": "a line"})
    waiting = [*reports(1, 1500), line]
    kept = without_surplus(waiting, EVERY)
    assert line in kept
    assert len(kept) < 2 * (100 + 20 + 1) + 2
    histories = []
    for written in (waiting, kept):
        job_id = submitted(jobs, report_every=EVERY, epochs=100_000)
        attempts.heartbeat(claimed(attempts), written)
        histories.append((numbers(jobs, job_id, "step"), numbers(jobs, job_id, "epoch")))
    assert histories[0] == histories[1]
