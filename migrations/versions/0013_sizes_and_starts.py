"""Add the sizes of model versions, and the times at which attempts begin to train."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("model_versions", sa.Column("bytes", sa.BigInteger(), nullable=True))
    op.add_column("attempts", sa.Column("training_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("attempts", "training_at")
    op.drop_column("model_versions", "bytes")
