"""Let a data set have several default targets."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

DATASETS = sa.table(
    "datasets", sa.column("seq"), sa.column("target", sa.String), sa.column("targets", sa.Text)
)


def upgrade() -> None:
    op.add_column("datasets", sa.Column("targets", sa.Text(), nullable=True))
    for seq, target in stored(DATASETS.c.target):
        names = json.dumps([target], ensure_ascii=False)
        op.execute(DATASETS.update().where(DATASETS.c.seq == seq).values(targets=names))
    op.drop_column("datasets", "target")


def downgrade() -> None:
    """Keep a single target; data sets with several have none."""
    op.add_column("datasets", sa.Column("target", sa.String(1000), nullable=True))
    for seq, names in stored(DATASETS.c.targets):
        if len(targets := json.loads(names)) == 1:
            op.execute(DATASETS.update().where(DATASETS.c.seq == seq).values(target=targets[0]))
    op.drop_column("datasets", "targets")


def stored(column: sa.ColumnClause[str]) -> list[tuple[int, str]]:
    """Return the key and the value of each row that has a value in `column`."""
    query = sa.select(DATASETS.c.seq, column).where(column.is_not(None))
    return [(seq, value) for seq, value in op.get_bind().execute(query)]
