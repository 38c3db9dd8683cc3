"""Events of jobs, in order. Only this module and `thinning` access the event table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from sqlalchemy import JSON, BigInteger, TableValuedAlias, Text, cast, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ml.training.loop import POSITION, Report
from service.jobs.schemas import Event
from service.storage.tables import EventRow

Kind = Literal["status", "log", "step", "epoch", "fold"]
METRICS: tuple[Kind, ...] = ("step", "epoch", "fold")


@dataclass(frozen=True)
class NewEvent:
    """An event not yet written."""

    kind: Kind
    data: dict[str, Any]
    epoch: int | None = None
    step: int | None = None
    best_epoch: int | None = None
    """Of a report of an epoch: the best epoch so far. It belongs to the job, not to the event."""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def from_report(cls, report: Report) -> "NewEvent":
        """Return the event for a metric report."""
        values = dict(report.values)
        return cls(report.level, values, report.epoch, report.step, report.best_epoch)

    @property
    def metrics(self) -> dict[str, float]:
        """Return the metrics of a report, without the position within its epoch."""
        return {name: value for name, value in self.data.items() if name not in POSITION}


def append(session: Session, job_id: str, new_events: Sequence[NewEvent]) -> None:
    """Write events of a job in the caller's transaction. A metric that exists already is kept."""
    append_all(session, [(job_id, new_event) for new_event in new_events])


def append_all(session: Session, new_events: Sequence[tuple[str, NewEvent]]) -> None:
    """Write events of several jobs, each with the id of its job, as `append` does."""
    if not new_events:
        return
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    statement = dialect.insert(EventRow).on_conflict_do_nothing(
        index_elements=["job_id", "kind", "step"]
    )
    session.execute(
        statement,
        [
            {
                "job_id": job_id,
                "kind": new_event.kind,
                "epoch": new_event.epoch,
                "step": new_event.step,
                "data": new_event.data,
                "created_at": new_event.at,
            }
            for job_id, new_event in new_events
        ],
    )


def read(
    session: Session, job_id: str, after: int, limit: int, kinds: Sequence[Kind] = ()
) -> list[Event]:
    """Return up to `limit` events of the job, the oldest first, with ids above `after`."""
    query = select(EventRow).where(EventRow.job_id == job_id, EventRow.id > after)
    if kinds:
        query = query.where(EventRow.kind.in_(kinds))
    rows = session.scalars(query.order_by(EventRow.id).limit(limit))
    return [Event.model_validate(row, from_attributes=True) for row in rows]


def newest(session: Session, job_id: str) -> int:
    """Return the id of the job's newest event, or 0."""
    query = select(func.max(EventRow.id)).where(EventRow.job_id == job_id)
    return session.scalar(query) or 0


def read_new(session: Session, positions: Mapping[str, int], limit: int) -> dict[str, list[Event]]:
    """Return up to `limit` events, by job: of each job in `positions`, those with ids above its
    position, the oldest first."""
    watched = _json_table(session, positions)
    query = (
        select(EventRow)
        .join(watched, EventRow.job_id == watched.c.key)
        .where(EventRow.id > cast(watched.c.value, BigInteger))
        .order_by(EventRow.id)
        .limit(limit)
    )
    found: dict[str, list[Event]] = {}
    for row in session.scalars(query):
        event = Event.model_validate(row, from_attributes=True)
        found.setdefault(row.job_id, []).append(event)
    return found


def _json_table(session: Session, values: Mapping[str, int]) -> TableValuedAlias:
    """Return a mapping as a table of keys and values: one parameter, however many there are."""
    document = literal(orjson.dumps(values).decode(), Text)
    if session.get_bind().dialect.name == "sqlite":
        return func.json_each(document).table_valued("key", "value")
    return func.json_each_text(cast(document, JSON)).table_valued("key", "value")
