"""The condition of rows that an owner owns."""

from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute


def owned_by(column: InstrumentedAttribute[str | None], owner: str | None) -> ColumnElement[bool]:
    """Return the condition of rows whose owner, which may be null, is in `column`."""
    # Unlike `IS NOT DISTINCT FROM`, both forms use an index on PostgreSQL too.
    return column.is_(None) if owner is None else column == owner
