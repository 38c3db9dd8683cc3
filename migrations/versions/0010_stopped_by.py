"""Add the reason why a job stopped training early."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("stopped_by", sa.String(16), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "stopped_by")
