"""Thinning of a long job's metrics, so that its rows in the event table are bounded.

Reports at a level are numbered; see `Numbering`. Of the older ones, those stay whose number is a
multiple of the stride: the smallest power of two with which at most `MAX_REPORTS` are left. So
every doubling of the stride halves them evenly, and the number of the newest report alone decides
which ones stay: a job that was interrupted and resumed ends with the same history as one that was
not. The first report and recent ones always stay.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from service.jobs.events import Kind, NewEvent
from service.jobs.schemas import Event
from service.storage.tables import EventRow, JobRow

MAX_REPORTS = 10_000
"""Maximum older reports of a job at each level."""
RECENT_REPORTS = 2_000
"""Newest reports, all of which stay for watchers of the job."""
THIN_EVERY = 1_000
"""Reports between two deletions."""


@dataclass(frozen=True)
class Numbering:
    """Numbers of a job's reports, from 1: of a step, by the reports up to it, of which each epoch
    has the same number; of an epoch, its own."""

    steps_per_epoch: int
    report_every: int

    @classmethod
    def of_job(cls, job: JobRow) -> "Numbering":
        """Return the numbering of a job; its number of steps is known once it reports."""
        epochs = job.spec["epochs"]
        return cls((job.steps or epochs) // epochs, job.spec["report_every"])

    def number(self, level: Kind, epoch: Any, step: Any) -> Any:
        """Return the number of the newest report at a level, up to an epoch and a step, which may
        be columns."""
        if level != "step":
            return epoch
        steps, every = self.steps_per_epoch, self.report_every
        done = step - 1
        return done // steps * -(-steps // every) + done % steps // every + 1


def newest_reports(job: JobRow) -> dict[Kind, int]:
    """Return the number of the job's newest report at each level."""
    numbering = Numbering.of_job(job)
    levels: tuple[Kind, ...] = ("step", "epoch")
    return {level: numbering.number(level, job.epoch, job.step) for level in levels}


def stride(newest: int) -> int:
    """Return the distance of the older reports that stay once there are `newest` of them."""
    return 1 << max(0, -(-newest // MAX_REPORTS) - 1).bit_length()


def thin(session: Session, job: JobRow, level: Kind, before: int, newest: int) -> None:
    """Delete reports at a level that need not stay, in the caller's transaction, from time to time:
    `before` and `newest` are the numbers of the newest report before and after its writes."""
    if stride(newest) == 1 or newest // THIN_EVERY == before // THIN_EVERY:
        return
    number = Numbering.of_job(job).number(level, EventRow.epoch, EventRow.step)
    session.execute(
        delete(EventRow).where(
            EventRow.job_id == job.id,
            EventRow.kind == level,
            number > 1,
            number <= newest - RECENT_REPORTS,
            number % stride(newest) != 0,
        )
    )


def without_surplus(new_events: Sequence[NewEvent], numbering: Numbering) -> list[NewEvent]:
    """Return events that wait to be written, without reports that `thin` would delete."""
    newest = {"step": 0, "epoch": 0}
    for event in new_events:
        if event.kind in newest:
            newest[event.kind] = _number(event, numbering)
    return [
        event
        for event in new_events
        if event.kind not in newest or _stays(_number(event, numbering), newest[event.kind])
    ]


def evenly_spaced(session: Session, job: JobRow, level: Kind, most: int) -> list[Event]:
    """Return up to `most` of the job's reports at a level, evenly spaced, including the first and
    the last."""
    number = Numbering.of_job(job).number(level, EventRow.epoch, EventRow.step)
    all_reports = EventRow.job_id == job.id, EventRow.kind == level
    ends = select(func.min(number), func.max(number)).where(*all_reports)
    first, last = session.execute(ends).one()
    if first is None:
        return []
    # Recent reports are closer to each other than older ones.
    even = or_(number.in_((first, last)), number % stride(last) == 0)
    mine = *all_reports, even
    total = session.scalar(select(func.count()).where(*mine)) or 0
    # One place is reserved for the last report.
    distance = math.ceil(total / (most - 1))
    place = func.row_number().over(order_by=EventRow.id).label("number")
    numbered = select(EventRow.id, place).where(*mine).subquery()
    chosen = select(numbered.c.id).where(
        or_((numbered.c.number - 1) % max(distance, 1) == 0, numbered.c.number == total)
    )
    rows = session.scalars(select(EventRow).where(EventRow.id.in_(chosen)).order_by(EventRow.id))
    return [Event.model_validate(row, from_attributes=True) for row in rows]


def _stays(number: int, newest: int) -> bool:
    return number == 1 or number > newest - RECENT_REPORTS or number % stride(newest) == 0


def _number(event: NewEvent, numbering: Numbering) -> int:
    number: int = numbering.number(event.kind, event.epoch, event.step)
    return number
