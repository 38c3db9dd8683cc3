"""Actions requested of running jobs, in the caller's transaction.

Each function returns whether the job was in a state that allows the request.
"""

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, func, or_, update
from sqlalchemy.orm import Session

from service.jobs.states import RequestedAction
from service.storage.tables import JobRow


def cancel(session: Session, job_id: str) -> bool:
    """Request the cancellation of a running job."""
    return _set_action(session, job_id, "cancel")


def pause(session: Session, job_id: str) -> bool:
    """Request the pause of a running job that is not being cancelled."""
    no_cancel = or_(JobRow.requested_action.is_(None), JobRow.requested_action == "pause")
    return _set_action(session, job_id, "pause", no_cancel)


def withdraw_pause(session: Session, job_id: str) -> bool:
    """Withdraw the pause of a running job. A cancellation cannot be withdrawn."""
    return _set_action(session, job_id, None, JobRow.requested_action == "pause")


def _set_action(
    session: Session, job_id: str, action: RequestedAction | None, *wanted: ColumnElement[bool]
) -> bool:
    """Set the action requested of a running job, if its row is as `wanted`; return whether it was.
    The time to perform an action starts with the first request."""
    now = func.coalesce(JobRow.requested_at, datetime.now(UTC)) if action else None
    changed = session.execute(
        update(JobRow)
        .where(JobRow.id == job_id, JobRow.status == "running", *wanted)
        .values(requested_action=action, requested_at=now)
        .returning(JobRow.id)
    )
    return changed.one_or_none() is not None
