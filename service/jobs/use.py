"""Use by owners: device-seconds of late, and by day. Only this module accesses the tables
`recent_use` and `daily_use`.

A device-second is a second for which an attempt held a trainer, from its claim to its end. Both
tables count attempts that have ended, and stay when jobs are deleted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.jobs.fair_share import Owner, faded, weighted
from service.storage.tables import DailyUseRow, RecentUseRow

Row = TypeVar("Row", RecentUseRow, DailyUseRow)

NOBODY = ""
"""Stands in the tables for jobs without an owner."""


def record(
    session: Session,
    owner: Owner,
    began: datetime,
    ended: datetime,
    half_life: float,
    ends_job: bool,
) -> float:
    """Count an attempt that has ended, and with it perhaps its job; return its device-seconds."""
    name, ended = owner or NOBODY, max(began, ended)
    recent = _locked(session, RecentUseRow, {"owner": name}, device_seconds=0.0, at=ended)
    at = max(recent.at, ended)
    recent.device_seconds = faded(
        recent.device_seconds, (at - recent.at).total_seconds(), half_life
    ) + faded(weighted(began, ended, half_life), (at - ended).total_seconds(), half_life)
    recent.at = at
    for day, seconds in by_day(began, ended):
        key = {"owner": name, "day": day}
        row = _locked(session, DailyUseRow, key, device_seconds=0.0, jobs=0)
        row.device_seconds += seconds
        row.jobs += ends_job and day == ended.date()
    return (ended - began).total_seconds()


def correct_dates(session: Session, now: datetime) -> None:
    """Date sums in the future, from when the clock was ahead, at `now`: they would not fade until
    then, and what their owners use meanwhile would count for nothing."""
    session.execute(update(RecentUseRow).where(RecentUseRow.at > now).values(at=now))


def recent(
    session: Session, owners: Iterable[Owner], now: datetime, half_life: float
) -> dict[Owner, float]:
    """Return the weighted device-seconds of these owners' ended attempts."""
    names = [owner or NOBODY for owner in owners]
    rows = session.scalars(select(RecentUseRow).where(RecentUseRow.owner.in_(names)))
    return {
        row.owner or None: faded(row.device_seconds, (now - row.at).total_seconds(), half_life)
        for row in rows
    }


def on_day(session: Session, day: date) -> dict[Owner, float]:
    """Return the device-seconds that every owner's ended attempts used on a day."""
    rows = session.scalars(select(DailyUseRow).where(DailyUseRow.day == day))
    return {row.owner or None: row.device_seconds for row in rows}


def since(session: Session, day: date) -> Sequence[DailyUseRow]:
    """Return what ended attempts used from `day` on."""
    return session.scalars(select(DailyUseRow).where(DailyUseRow.day >= day)).all()


def by_day(began: datetime, ended: datetime) -> Iterator[tuple[date, float]]:
    """Yield the days of UTC between two times, and the seconds of each."""
    at, ended = began.astimezone(UTC), max(began, ended).astimezone(UTC)
    while True:
        midnight = start_of_next_day(at)
        yield at.date(), (min(ended, midnight) - at).total_seconds()
        if ended < midnight:
            return
        at = midnight


def start_of_next_day(at: datetime) -> datetime:
    """Return the end of the day of UTC, when daily quotas free."""
    day = at.astimezone(UTC).date() + timedelta(days=1)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _locked(session: Session, table: type[Row], key: Mapping[str, object], **new: object) -> Row:
    """Return the row with this key, locked in a writing session; if there is none, a new one."""
    query = select(table).filter_by(**key).with_for_update()
    row = session.scalars(query).one_or_none()
    if row is None:
        dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
        session.execute(dialect.insert(table).values(**key, **new).on_conflict_do_nothing())
        row = session.scalars(query).one()
    return row
