"""Places in lists, which survive the deletion of the row that they name."""

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from service.storage.tables import DatasetRow, JobRow


def older_than(
    session: Session, table: type[JobRow] | type[DatasetRow], after: str
) -> ColumnElement[bool]:
    """Return the condition of rows that are older than row `after`: if it is deleted, or never was,
    by the time in its id."""
    seq = session.scalar(select(table.seq).where(table.id == after))
    return table.id < after if seq is None else table.seq < seq
