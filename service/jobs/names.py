"""The names of models, which belong to the owner of their first version."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.access.caller import Caller
from service.errors import Conflict
from service.storage.tables import JobRow, ModelVersionRow


def check_name(session: Session, name: str, caller: Caller) -> None:
    """Check that a job of `caller` may train the next version of the model `name`.

    Raises:
        Forbidden: the caller's key is for other models.
        Conflict: the model, or an unfinished job that will make it, belongs to somebody else.
    """
    caller.check_model(name)
    versions = (
        select(ModelVersionRow.owner)
        .where(ModelVersionRow.name == name, ModelVersionRow.deleted_at.is_(None))
        .order_by(ModelVersionRow.version)
    )
    unfinished = (
        select(JobRow.owner)
        .where(JobRow.name == name, JobRow.finished_at.is_(None))
        .order_by(JobRow.seq)
    )
    for owners in (versions, unfinished):
        first = session.execute(owners.limit(1)).one_or_none()
        if first is None:
            continue
        if not caller.may_change(first.owner):
            message = f"the model {name!r} belongs to somebody else; choose another name"
            raise Conflict(f"name: {message}", [(("body", "name"), message)])
        return
