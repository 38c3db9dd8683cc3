"""Metrics of long jobs, on a real SQLite file."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import pytest
from sqlalchemy import func, literal, select

from ml.training.loop import Report
from service.jobs import thinning
from service.jobs.attempts import AttemptStore, Claim
from service.jobs.events import NewEvent
from service.jobs.schemas import MetricRecord
from service.jobs.store import JobStore
from service.jobs.thinning import Numbering, stride, without_surplus
from service.storage.database import Database
from service.storage.tables import EventRow
from tests.service.conftest import claimed, submitted

EVERY = 3
"""Steps between two reports, and steps of an epoch."""
EPOCHS = 100_000


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "MAX_REPORTS", 100)
    monkeypatch.setattr(thinning, "RECENT_REPORTS", 20)
    monkeypatch.setattr(thinning, "THIN_EVERY", 10)


def reports(first: int, last: int) -> list[NewEvent]:
    """Return the reports of epochs `first` to `last`, and of the first step of each."""
    return [
        NewEvent.from_report(report)
        for number in range(first, last + 1)
        for report in (
            Report("step", number, (number - 1) * EVERY + 1, {"loss": float(number)}),
            Report("epoch", number, number * EVERY, {"train_loss": float(number)}),
        )
    ]


def numbers(records: Sequence[MetricRecord]) -> list[int]:
    return [record.epoch for record in records]


def kept_by(jobs: JobStore, job_id: str, level: str) -> list[int]:
    return numbers(jobs.metrics(job_id, level, 1000, 0).data)


def begun(jobs: JobStore, attempts: AttemptStore) -> tuple[str, Claim]:
    """Submit a job, and begin an attempt at it."""
    job_id = submitted(jobs, report_every=EVERY, epochs=EPOCHS)
    claim = claimed(attempts)
    attempts.mark_started(claim, "cpu", "resident", 0, EPOCHS * EVERY)
    return job_id, claim


def count(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).where(EventRow.kind != "status")) or 0


@pytest.mark.parametrize(
    ("newest", "distance"), [(0, 1), (1, 1), (100, 1), (101, 2), (200, 2), (201, 4), (10**6, 16384)]
)
def test_the_stride_doubles_with_the_reports(newest: int, distance: int) -> None:
    assert stride(newest) == distance
    assert newest // distance <= 100


@pytest.mark.parametrize("report_every", [1, 3, 7, 100])
@pytest.mark.parametrize("steps_per_epoch", [1, 2, 7, 10])
def test_reports_are_numbered_in_order(
    database: Database, steps_per_epoch: int, report_every: int
) -> None:
    numbering = Numbering(steps_per_epoch, report_every)
    reported = [
        (epoch, epoch * steps_per_epoch + batch + 1)
        for epoch in range(3)
        for batch in range(0, steps_per_epoch, report_every)
    ]
    expected = list(range(1, len(reported) + 1))
    assert [numbering.number("step", epoch + 1, step) for epoch, step in reported] == expected
    for epoch, step in reported:
        assert numbering.number("epoch", epoch + 1, step) == epoch + 1
    # The end of an epoch is part of its last report's stretch, and before all of them is 0.
    ends = [numbering.number("step", 0, epoch * steps_per_epoch) for epoch in range(4)]
    assert ends == [epoch * (len(reported) // 3) for epoch in range(4)]
    with database.read() as session:
        columns = [numbering.number("step", 0, literal(step)) for _, step in reported]
        assert list(session.execute(select(*columns)).one()) == expected


def test_a_steps_position_is_in_its_report_and_not_among_the_metrics(
    jobs: JobStore, attempts: AttemptStore
) -> None:
    job_id, claim = begun(jobs, attempts)
    values = {"loss": 2.3, "rows_seen": 64, "rows": 60_000, "percent": 64 / 600}
    attempts.heartbeat(claim, [NewEvent.from_report(Report("step", 1, 1, values))])
    [record] = jobs.metrics(job_id, "step", 10, 0).data
    assert record.values == values
    assert jobs.fetch(job_id).metrics == {"loss": 2.3}


def test_the_reports_of_a_job_are_bounded_at_all_times_and_stay_even(
    jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    job_id, claim = begun(jobs, attempts)
    seen: set[int] = set()
    last = 0
    for number in range(1, 2001, 7):
        attempts.heartbeat(claim, reports(number, number + 6))
        # A stream that reads after every write misses nothing.
        page = jobs.metrics(job_id, "step", 20, last)
        last = page.data[-1].id
        seen |= set(numbers(page.data))
        assert count(database) <= 2 * (100 + 20 + 10 + 7 + 1)
    assert seen == set(range(1, 2003))
    for level in ("step", "epoch"):
        kept = kept_by(jobs, job_id, level)
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
        job_id, claim = begun(jobs, attempts)
        for number in range(1, 1000, 10):
            attempts.heartbeat(claim, reports(number, number + 9))
            if interrupted and number == 501:
                attempts.mark_started(claim, "cpu", "resident", 333 * EVERY, EPOCHS * EVERY)
                # Repeats steps whose reports have been deleted meanwhile.
                attempts.heartbeat(claim, reports(334, 510))
        histories.append((kept_by(jobs, job_id, "step"), kept_by(jobs, job_id, "epoch")))
    assert histories[0] == histories[1]


def test_a_chart_is_even_although_recent_reports_are_not_thinned(
    jobs: JobStore, attempts: AttemptStore
) -> None:
    job_id, claim = begun(jobs, attempts)
    attempts.heartbeat(claim, reports(1, 2002))
    levels: tuple[Literal["step", "epoch"], ...] = ("step", "epoch")
    for level in levels:
        shown = numbers(jobs.metric_series(job_id, level, 50))
        assert (shown[0], shown[-1]) == (1, 2002)
        assert len(shown) <= 50
        assert {b - a for a, b in pairwise(shown[1:-1])} == {64}


def test_events_that_wait_lose_only_what_would_be_deleted(
    jobs: JobStore, attempts: AttemptStore
) -> None:
    line = NewEvent("log", {"level": "info", "message": "a line"})
    waiting = [*reports(1, 1500), line]
    kept = without_surplus(waiting, Numbering(steps_per_epoch=EVERY, report_every=EVERY))
    assert line in kept
    assert len(kept) < 2 * (100 + 20 + 1) + 2
    histories = []
    for written in (waiting, kept):
        job_id, claim = begun(jobs, attempts)
        attempts.heartbeat(claim, written)
        histories.append((kept_by(jobs, job_id, "step"), kept_by(jobs, job_id, "epoch")))
    assert histories[0] == histories[1]
