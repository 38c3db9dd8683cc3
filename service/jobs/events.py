"""Events of jobs, in order: the only module that accesses the event table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ml.training.loop import Report
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
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def from_report(cls, report: Report) -> "NewEvent":
        """Return the event for a metric report."""
        return cls(report.level, dict(report.values), report.epoch, report.step)


def append(session: Session, job_id: str, new_events: Sequence[NewEvent]) -> None:
    """Write events in the caller's transaction. A metric that exists already is kept."""
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
            for new_event in new_events
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


def evenly_spaced(session: Session, job_id: str, kind: Kind, most: int) -> list[Event]:
    """Return up to `most` of the job's events of a kind, evenly spaced, including the first and the
    last."""
    mine = EventRow.job_id == job_id, EventRow.kind == kind
    total = session.scalar(select(func.count()).where(*mine)) or 0
    # One place is reserved for the last event.
    stride = math.ceil(total / (most - 1))
    number = func.row_number().over(order_by=EventRow.id).label("number")
    numbered = select(EventRow.id, number).where(*mine).subquery()
    chosen = select(numbered.c.id).where(
        or_((numbered.c.number - 1) % max(stride, 1) == 0, numbered.c.number == total)
    )
    rows = session.scalars(select(EventRow).where(EventRow.id.in_(chosen)).order_by(EventRow.id))
    return [Event.model_validate(row, from_attributes=True) for row in rows]
