"""Changes of a job's name and priority, in the caller's transaction."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.access.caller import Caller
from service.errors import Conflict, NotFound
from service.jobs.names import check_name
from service.jobs.schemas import JobChange
from service.storage.tables import JobRow


def change(session: Session, job_id: str, wanted: JobChange, caller: Caller) -> JobRow:
    """Change a job and return its row. A queued job takes the place in the queue that its new
    priority gives it: among its owner's jobs, or if an admin asks for it, among all.

    Raises:
        NotFound: no job has this id.
        Conflict: the job has succeeded; or the name of a running one, whose trainer has read it, or
            to that of somebody else's model, is to change.
    """
    # The lock keeps PostgreSQL from starting the job meanwhile; SQLite has one writer at a time.
    row = session.scalar(select(JobRow).where(JobRow.id == job_id).with_for_update())
    if row is None:
        raise NotFound(f"there is no job {job_id!r}")
    if row.status == "succeeded":
        raise Conflict(f"job {job_id} has succeeded; its name and its priority are final")
    if wanted.name is not None and wanted.name != row.name:
        if row.status == "running":
            raise Conflict(f"job {job_id} is running; pause it to change its name")
        check_name(session, wanted.name, caller)
        row.name = wanted.name
        row.spec = row.spec | {"name": wanted.name}
    if wanted.priority is not None:
        row.rank = -wanted.priority
        if caller.is_admin:
            row.standing = -wanted.priority
        row.options = row.options | {"priority": wanted.priority}
    session.flush()
    return row
