"""Rename `wish` to `requested_action`, `planes` to `channels` and `by-hand` to `manual`."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

COLUMNS = {"wish": "requested_action", "wish_at": "requested_at"}
# Artifacts on disk still use `planes`; `PictureForm` reads both.
DOCUMENTS = (
    ("jobs", "seq", "spec"),
    ("datasets", "seq", "schema"),
    ("model_versions", "id", "manifest"),
)


def upgrade() -> None:
    # Columns are renamed in place: in a batch, SQLite would rebuild the table and delete, with the
    # old one, all rows that refer to it.
    for old, new in COLUMNS.items():
        op.alter_column("jobs", old, new_column_name=new)
    op.execute("UPDATE jobs SET engine = replace(engine, '+by-hand', '+manual')")
    rename_keys("planes", "channels")


def downgrade() -> None:
    for old, new in COLUMNS.items():
        op.alter_column("jobs", new, new_column_name=old)
    op.execute("UPDATE jobs SET engine = replace(engine, '+manual', '+by-hand')")
    rename_keys("channels", "planes")


def rename_keys(old: str, new: str) -> None:
    for name, key, column in DOCUMENTS:
        table = sa.table(name, sa.column(key), sa.column(column, sa.JSON))
        document = table.c[column]
        query = sa.select(table.c[key], document).where(
            sa.cast(document, sa.Text).contains(f'"{old}"')
        )
        for number, value in op.get_bind().execute(query).all():
            renamed = with_forms(
                value, lambda form: {new if k == old else k: v for k, v in form.items()}
            )
            op.execute(table.update().where(table.c[key] == number).values({column: renamed}))


def with_forms(value: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return the document with `change` applied to every image form."""
    if isinstance(value, list):
        return [with_forms(item, change) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() >= {"height", "width"}:
        value = change(value)
    return {key: with_forms(item, change) for key, item in value.items()}
