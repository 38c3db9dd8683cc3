"""Jobs that come `after` others: what they wait for, in the caller's transaction.

A row names a job that must succeed and has not yet; it is deleted when it does. `JobRow.waits_for`
is the number of a job's rows while it waits. Failing the jobs that come after one that did not
succeed is a transition; see `service.jobs.transitions`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from ml.errors import Invalid
from service.access.caller import Caller
from service.errors import Conflict, Unprocessable
from service.jobs.states import Status
from service.storage.tables import JobDependencyRow, JobRow

WAITING: tuple[Status, ...] = ("queued", "paused")
"""Statuses in which a job can wait for others."""
HOPELESS: dict[str, str] = {"failed": "has failed", "cancelled": "was cancelled"}
"""Statuses in which a job will not succeed, unless somebody retries it."""


@dataclass(frozen=True)
class Dependent:
    """A waiting job, and an earlier one that it waits for."""

    seq: int
    id: str
    after: str


def unfinished(session: Session, after: Sequence[str], caller: Caller) -> list[str]:
    """Return those of the jobs `after` that have yet to succeed. Until the end of the transaction
    none of them ends.

    Raises:
        Unprocessable: there is no such job that `caller` may see.
        Conflict: one of them has failed or was cancelled.
    """
    rows = _locked(session, after)
    for place, job_id in enumerate(after):
        row = rows.get(job_id)
        if row is None or not caller.may_see(row.owner):
            raise Unprocessable.at(Invalid(f"there is no job {job_id!r}"), "body", "after", place)
        if row.status in HOPELESS:
            message = f"job {job_id} {HOPELESS[row.status]}; retry it first, or leave it out"
            raise Conflict(f"after: {message}", [(("body", "after", place), message)])
    return [job_id for job_id in after if rows[job_id].status != "succeeded"]


def add(session: Session, job_id: str, after: Sequence[str]) -> None:
    """Let a job that was added in this transaction wait for others."""
    session.add_all(JobDependencyRow(job_id=job_id, after_id=earlier) for earlier in after)


def check_again(session: Session, job_id: str) -> None:
    """Let a job that is retried wait for those that have yet to succeed.

    Raises:
        Conflict: one of them has failed, was cancelled or was deleted.
    """
    query = select(JobDependencyRow.after_id).where(JobDependencyRow.job_id == job_id)
    after = session.scalars(query).all()
    if not after:
        return
    rows = _locked(session, after)
    for earlier in after:
        state = HOPELESS.get(rows[earlier].status) if earlier in rows else "was deleted"
        if state is not None:
            raise Conflict(
                f"job {earlier}, which must succeed before {job_id}, {state}; retry it first, or "
                "submit this job anew without it"
            )
    done = [earlier for earlier in after if rows[earlier].status == "succeeded"]
    session.execute(
        delete(JobDependencyRow).where(
            JobDependencyRow.job_id == job_id, JobDependencyRow.after_id.in_(done)
        )
    )
    session.execute(
        update(JobRow).where(JobRow.id == job_id).values(waits_for=len(after) - len(done))
    )


def release(session: Session, job_id: str) -> None:
    """Let the jobs that come after a job that has succeeded wait for one job less."""
    followers = select(JobDependencyRow.job_id).where(JobDependencyRow.after_id == job_id)
    session.execute(
        update(JobRow)
        .where(JobRow.id.in_(followers), JobRow.waits_for > 0)
        .values(waits_for=JobRow.waits_for - 1)
        .execution_options(synchronize_session=False)
    )
    session.execute(delete(JobDependencyRow).where(JobDependencyRow.after_id == job_id))


def waiting_for(session: Session, job_id: str) -> list[Dependent]:
    """Return the waiting jobs that come after a job, those that come after them, and so on, locked
    in a writing session."""
    waiting = (
        select(JobDependencyRow.job_id)
        .join(JobRow, JobRow.id == JobDependencyRow.job_id)
        .where(JobRow.status.in_(WAITING))
    )
    later = waiting.where(JobDependencyRow.after_id == job_id).cte(recursive=True)
    later = later.union(waiting.join(later, JobDependencyRow.after_id == later.c.job_id))
    query = (
        waiting.with_only_columns(JobRow.seq, JobDependencyRow.job_id, JobDependencyRow.after_id)
        .where(
            or_(
                JobDependencyRow.after_id == job_id,
                JobDependencyRow.after_id.in_(select(later.c.job_id)),
            )
        )
        .order_by(JobRow.id, JobDependencyRow.after_id.desc())
        .with_for_update(of=JobRow)
    )
    # Of several earlier jobs, the oldest, which is the last one here, is named.
    last = {row.job_id: row for row in session.execute(query)}
    return [Dependent(*row) for row in last.values()]


def of(session: Session, job_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return, of each of these jobs that waits for others, the ones it waits for."""
    found: dict[str, list[str]] = {}
    query = select(JobDependencyRow).where(JobDependencyRow.job_id.in_(job_ids))
    for row in session.scalars(query.order_by(JobDependencyRow.after_id)):
        found.setdefault(row.job_id, []).append(row.after_id)
    return found


def _locked(session: Session, job_ids: Sequence[str]) -> dict[str, JobRow]:
    if not job_ids:
        return {}
    # In one order, so that no two transactions wait for each other.
    query = select(JobRow).where(JobRow.id.in_(job_ids)).order_by(JobRow.id).with_for_update()
    return {row.id: row for row in session.scalars(query)}
