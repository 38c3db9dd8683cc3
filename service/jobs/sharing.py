"""The queue, the jobs on trainers, and what owners have used: the API's view of the sharing of a
machine."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Literal

from sqlalchemy import Row, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.access.caller import Caller
from service.jobs import dependencies, use
from service.jobs.fair_share import Group, Owner
from service.jobs.forecast import Start, WaitingJob, starts
from service.jobs.from_rows import eta_seconds, steps_per_second
from service.jobs.likeness import usual_seconds
from service.jobs.sharing_schemas import DailyUse, Held, QueueEntry
from service.jobs.turns import Rules, Turns, read_turns, running_jobs
from service.schemas import Page
from service.settings import Settings
from service.storage.database import Database
from service.storage.tables import AttemptRow, JobRow

MAX_FORECAST = 1000
"""Jobs whose start is forecast; those behind them are in order of submission."""
MAX_KINDS = 10_000
"""Kinds of jobs of which the usual length is looked up."""
QUEUED: Sequence[InstrumentedAttribute[Any]] = (
    JobRow.id,
    JobRow.name,
    JobRow.owner,
    JobRow.role,
    JobRow.standing,
    JobRow.rank,
    JobRow.seq,
    JobRow.not_before,
    JobRow.waits_for,
    JobRow.likeness,
    JobRow.device_seconds,
    JobRow.created_at,
)
Queued = Row[Any]


@dataclass(frozen=True)
class OnTrainer:
    """A job that a trainer runs."""

    job_id: str
    owner: Owner
    state: Literal["loading", "training", "leaving"]
    steps_per_second: float | None


class Sharing:
    """Reads what the owners of a machine share."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._rules = Rules.of(settings)
        self._clock = clock

    def queue(self, caller: Caller, trainers: int, limit: int, after: int) -> Page[QueueEntry]:
        """Return up to `limit` of the queued jobs that `caller` may see, in the order of their
        expected starts on this number of trainers, starting after the first `after`."""
        with self._database.read() as session:
            turns = read_turns(session, self._clock(), self._rules)
            query = select(*QUEUED).where(JobRow.status == "queued")
            rows = session.execute(query.order_by(JobRow.rank, JobRow.seq)).all()
            places = [
                place
                for place in _places(session, turns, rows, trainers)
                if caller.may_see(place.row.owner)
            ]
            page = places[after : after + limit]
            earlier = dependencies.of(session, [place.row.id for place in page])
        more = len(places) > after + limit
        return Page(
            data=[_entry(place, turns, earlier.get(place.row.id, [])) for place in page],
            next=str(after + limit) if more else None,
        )

    def on_trainers(self) -> dict[str, OnTrainer]:
        """Return the running jobs, by the names of their trainers."""
        query = select(AttemptRow.trainer, JobRow).join(
            AttemptRow,
            (AttemptRow.job_id == JobRow.id) & (AttemptRow.attempt == JobRow.attempt),
        )
        with self._database.read() as session:
            return {
                trainer: OnTrainer(row.id, row.owner, _state(row), steps_per_second(row))
                for trainer, row in session.execute(query.where(JobRow.status == "running"))
            }

    def use(self, caller: Caller, days: int, owner: str | None = None) -> list[DailyUse]:
        """Return what the owners that `caller` may see used today and on the days before, `days`
        in all, the newest day first."""
        now = self._clock()
        first = now.date() - timedelta(days=days - 1)
        with self._database.read() as session:
            found = {
                (row.day, row.owner or None): (row.device_seconds, row.jobs)
                for row in use.since(session, first)
            }
            for job in running_jobs(session):
                for day, seconds in use.by_day(job.started_at, now):
                    if day >= first:
                        before, jobs = found.get((day, job.owner), (0.0, 0))
                        found[day, job.owner] = before + seconds, jobs
        return [
            DailyUse(day=day, owner=whose, device_seconds=round(seconds, 1), jobs=jobs)
            for (day, whose), (seconds, jobs) in sorted(
                found.items(), key=lambda item: (-item[0][0].toordinal(), item[0][1] or "")
            )
            if caller.may_see(whose) and owner in (None, whose)
        ]


def _state(row: JobRow) -> Literal["loading", "training", "leaving"]:
    if row.requested_action is not None:
        return "leaving"
    return "loading" if row.training_at is None else "training"


@dataclass(frozen=True)
class _Place:
    """A queued job, its place in the order, and its expected start."""

    row: Queued
    position: int | None
    expected_start: datetime | None = None


def _places(
    session: Session, turns: Turns, rows: Sequence[Queued], trainers: int
) -> Iterator[_Place]:
    """Yield the jobs that wait for their turn in its order, and then those that are held back."""
    ready = {row.id: row for row in rows if _is_ready(row, turns.now)}
    # Without trainers, the order is that on one, and nothing starts.
    expected = _expected(session, turns, list(ready.values()), trainers or 1)
    position = 0
    for position, start in enumerate(islice(expected, MAX_FORECAST), 1):
        yield _Place(ready.pop(start.job_id), position, start.at if trainers else None)
    late = []
    for row in sorted(ready.values(), key=lambda row: (row.standing, row.seq)):
        hold = turns.hold(row.owner, row.role)
        if hold is not None and hold.until is not None:
            late.append(row)
        else:
            position += 1
            yield _Place(row, position)
    yield from (_Place(row, None) for row in late)
    yield from (_Place(row, None) for row in rows if not _is_ready(row, turns.now))


def _is_ready(row: Queued, now: datetime) -> bool:
    return row.waits_for == 0 and (row.not_before is None or row.not_before <= now)


def _expected(
    session: Session, turns: Turns, rows: Sequence[Queued], trainers: int
) -> Iterator[Start]:
    running = session.scalars(select(JobRow).where(JobRow.status == "running")).all()
    kinds = dict.fromkeys([row.likeness for row in running] + [row.likeness for row in rows])
    usual = usual_seconds(session, [kind for kind in kinds if kind is not None][:MAX_KINDS])

    def left(likeness: str | None, done: float) -> float | None:
        seconds = usual.get(likeness or "")
        return None if seconds is None else max(0.0, seconds - done)

    def left_of_running(row: JobRow) -> float | None:
        eta = eta_seconds(row)
        if eta is not None or row.started_at is None:
            return eta
        return left(row.likeness, row.device_seconds + (turns.now - row.started_at).total_seconds())

    waiting = [
        WaitingJob(
            row.id,
            Group(row.owner, row.role, row.standing, row.seq),
            left(row.likeness, row.device_seconds),
        )
        for row in rows
    ]
    return starts(turns, waiting, {row.id: left_of_running(row) for row in running}, trainers)


def _entry(place: _Place, turns: Turns, after: Sequence[str]) -> QueueEntry:
    row = place.row
    return QueueEntry(
        position=place.position,
        job=row.id,
        name=row.name,
        owner=row.owner,
        priority=-row.rank,
        created_at=row.created_at,
        expected_start=place.expected_start,
        held=_held(row, turns, after),
    )


def _held(row: Queued, turns: Turns, after: Sequence[str]) -> Held | None:
    if after:
        return Held(by="after", detail=f"waits for {', '.join(after)} to succeed", until=None)
    if row.not_before is not None and row.not_before > turns.now:
        return Held(by="not_before", detail="is not due yet", until=row.not_before)
    hold = turns.hold(row.owner, row.role)
    return None if hold is None else Held(by="quota", detail=hold.reason, until=hold.until)
