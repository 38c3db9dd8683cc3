"""Conditions of queries on rows that have an owner."""

from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute

from service.access.caller import Caller


def seen(
    column: InstrumentedAttribute[str | None], caller: Caller, owner: str | None = None
) -> list[ColumnElement[bool]]:
    """Return the conditions of rows that `caller` may see and, if given, `owner` owns."""
    conditions = [] if owner is None else [column == owner]
    if not (caller.is_admin or caller.sees_all):
        conditions.append(column == caller.owner)
    return conditions
