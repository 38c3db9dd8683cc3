"""The one place where a job's status changes."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from service.jobs import dependencies, events
from service.jobs.events import NewEvent
from service.jobs.schemas import JobError
from service.jobs.states import EDGES, ENDED, Status, Verb
from service.storage.tables import AttemptRow, JobRow


def move(
    session: Session,
    job_id: str,
    verb: Verb,
    sources: Sequence[Status],
    details: dict[str, Any] | None = None,
    **values: Any,
) -> bool:
    """Move a job in one of `sources` along `verb`'s edge, set `values`, and append a status event
    with `details`; return whether the job moved."""
    return any(_move(session, job_id, verb, source, None, details, values) for source in sources)


def end_attempt(
    session: Session, job_id: str, attempt: int, verb: Verb, outcome: str, details: dict[str, Any]
) -> bool:
    """Move a running job along `verb`'s edge if this attempt still holds it; return whether the job
    moved."""
    now = datetime.now(UTC)
    details = {"attempt": attempt} | details
    if not _move(session, job_id, verb, "running", attempt, details, {"lease_expires_at": None}):
        return False
    session.execute(
        update(AttemptRow)
        .where(AttemptRow.job_id == job_id, AttemptRow.attempt == attempt)
        .values(ended_at=now, outcome=outcome)
    )
    return True


def fail_dependents(session: Session, job_id: str, reason: str) -> None:
    """Fail the waiting jobs that come after a job which did not succeed, for the given `reason`,
    and those that come after them.

    There may be thousands, and all others wait to write meanwhile: they are failed in bulk.
    """
    dependents, now = dependencies.waiting_for(session, job_id), datetime.now(UTC)
    if not dependents:
        return
    errors = [
        JobError(
            kind="dependency_failed",
            message=f"the job {one.after}, which must succeed before this one, "
            f"{reason if one.after == job_id else 'failed'}",
        ).model_dump()
        for one in dependents
    ]
    failed = _values("failed", now)
    session.execute(
        update(JobRow),
        [
            {"seq": one.seq, "error": error} | failed
            for one, error in zip(dependents, errors, strict=True)
        ],
    )
    events.append_all(
        session,
        [
            (one.id, NewEvent("status", {"status": "failed", "error": error}, at=now))
            for one, error in zip(dependents, errors, strict=True)
        ],
    )


def _move(
    session: Session,
    job_id: str,
    verb: Verb,
    source: Status,
    attempt: int | None,
    details: dict[str, Any] | None,
    values: dict[str, Any],
) -> bool:
    """Move a job, and tell those that come after it if it has ended."""
    target = EDGES[verb][source]
    now = datetime.now(UTC)
    statement = update(JobRow).where(JobRow.id == job_id, JobRow.status == source)
    if attempt is not None:
        statement = statement.where(JobRow.attempt == attempt)
    moved = session.execute(
        statement.values(**_values(target, now), **values).returning(JobRow.id)
    ).one_or_none()
    if moved is None:
        return False
    data = {"status": target} | (details or {})
    events.append(session, job_id, [NewEvent("status", data, at=now)])
    if target == "succeeded":
        dependencies.release(session, job_id)
    elif target in ENDED:
        fail_dependents(session, job_id, "failed" if target == "failed" else "was cancelled")
    return True


def _values(target: Status, now: datetime) -> dict[str, Any]:
    """Return the values of a job that moves to `target`."""
    return {
        "status": target,
        "requested_action": None,
        "requested_at": None,
        "finished_at": now if target in ENDED else None,
    }
