"""Actions requested of running jobs, in the caller's transaction.

Each function returns whether the job was in a state that allows the request.
"""

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, func, or_, update
from sqlalchemy.orm import Session

from service.jobs.states import BY_USERS, RequestedAction
from service.storage.tables import JobRow


def cancel(session: Session, job_id: str) -> bool:
    """Request the cancellation of a running job."""
    return _set_action(session, job_id, "cancel")


def pause(session: Session, job_id: str) -> bool:
    """Request the pause of a running job that is not being cancelled."""
    no_cancel = or_(JobRow.requested_action.is_(None), JobRow.requested_action != "cancel")
    return _set_action(session, job_id, "pause", no_cancel)


def preempt(session: Session, job_id: str, attempt: int) -> bool:
    """Request that an attempt give its trainer to another job, if nothing else is requested of
    it."""
    free = JobRow.requested_action.is_(None)
    return _set_action(session, job_id, "preempt", free, JobRow.attempt == attempt)


def withdraw_pause(session: Session, job_id: str) -> bool:
    """Withdraw the pause of a running job. A cancellation cannot be withdrawn."""
    return _set_action(session, job_id, None, JobRow.requested_action == "pause")


def _set_action(
    session: Session, job_id: str, action: RequestedAction | None, *wanted: ColumnElement[bool]
) -> bool:
    """Set the action requested of a running job, if its row is as `wanted`; return whether it was.
    The time to perform an action of a user starts with the first request; a preemption waits for
    the end of a step, however long it takes."""
    timed = action in BY_USERS
    now = func.coalesce(JobRow.requested_at, datetime.now(UTC)) if timed else None
    changed = session.execute(
        update(JobRow)
        .where(JobRow.id == job_id, JobRow.status == "running", *wanted)
        .values(requested_action=action, requested_at=now)
        .returning(JobRow.id)
    )
    return changed.one_or_none() is not None
