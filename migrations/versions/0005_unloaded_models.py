"""Create the table of unloaded models."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "unloaded_models",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("unloaded_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("unloaded_models")
