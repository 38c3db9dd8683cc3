"""Add what owners take turns by: roles, standings, dependencies and recent use."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
CLAIM = ["status", "owner", "role", "standing", "rank", "seq", "not_before", "waits_for"]
COLUMNS = (
    ("role", sa.String(16), "admin"),
    ("standing", sa.Integer(), "0"),
    ("waits_for", sa.Integer(), "0"),
    ("device_seconds", sa.Double(), "0"),
)


def upgrade() -> None:
    for name, kind, default in COLUMNS:
        op.add_column("jobs", sa.Column(name, kind, nullable=False, server_default=default))
    op.add_column("jobs", sa.Column("likeness", sa.String(64), nullable=True))
    # Until now everybody was an admin, whose priorities hold across owners.
    op.execute("UPDATE jobs SET standing = rank")
    op.drop_index("ix_jobs_status_rank_seq", "jobs")
    op.create_index("ix_jobs_claim", "jobs", CLAIM)
    op.create_index("ix_jobs_likeness_seq", "jobs", ["likeness", "seq"])
    op.create_table(
        "job_dependencies",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("after_id", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "after_id", name="pk_job_dependencies"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_job_dependencies_job_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_job_dependencies_after_id", "job_dependencies", ["after_id"])
    op.create_table(
        "recent_use",
        sa.Column("owner", sa.String(64), primary_key=True),
        sa.Column("device_seconds", sa.Double(), nullable=False),
        sa.Column("at", TIME, nullable=False),
    )
    op.create_table(
        "daily_use",
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("device_seconds", sa.Double(), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "day", name="pk_daily_use"),
    )
    op.create_index("ix_daily_use_day", "daily_use", ["day"])


def downgrade() -> None:
    for table in ("daily_use", "recent_use", "job_dependencies"):
        op.drop_table(table)
    op.drop_index("ix_jobs_likeness_seq", "jobs")
    op.drop_index("ix_jobs_claim", "jobs")
    op.create_index("ix_jobs_status_rank_seq", "jobs", ["status", "rank", "seq"])
    for name in ("likeness", *(name for name, _, _ in COLUMNS)):
        op.drop_column("jobs", name)
