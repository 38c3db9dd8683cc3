"""Add options, requested actions, attempts and events of jobs; turn metrics into events."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    # Columns are added in place: otherwise SQLite would rebuild the table and delete, with the old
    # one, all rows that refer to it.
    for column in (
        sa.Column("options", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("rank", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("request_sha256", sa.String(64), nullable=False, server_default=""),
        sa.Column("wish", sa.String(16)),
        sa.Column("wish_at", MOMENT),
        sa.Column("not_before", MOMENT),
        sa.Column("lease_expires_at", MOMENT),
        sa.Column("crashes", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("engine", sa.String(32)),
        sa.Column("training_step", sa.BigInteger(), nullable=False, server_default="0"),
    ):
        op.add_column("jobs", column)
    op.drop_column("jobs", "cancel_requested")
    op.create_index("ix_jobs_status_rank_seq", "jobs", ["status", "rank", "seq"])
    op.create_index("ix_jobs_idempotency_key", "jobs", ["idempotency_key"], unique=True)
    op.create_table(
        "attempts",
        of_job(primary_key=True),
        sa.Column("attempt", sa.Integer(), primary_key=True),
        sa.Column("trainer", sa.String(64), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("heartbeat_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("outcome", sa.String(32)),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        of_job(),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("epoch", sa.Integer()),
        sa.Column("step", sa.BigInteger()),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.UniqueConstraint("job_id", "kind", "step"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_job_id_id", "events", ["job_id", "id"])
    op.execute(
        "INSERT INTO events (id, job_id, kind, epoch, step, data, created_at) "
        'SELECT id, job_id, level, epoch, step, "values", created_at FROM metrics'
    )
    op.drop_table("metrics")
    # A job can be deleted while its model stays.
    with op.batch_alter_table("model_versions") as batch:
        batch.drop_constraint("fk_model_versions_job_id", type_="foreignkey")


def downgrade() -> None:
    raise NotImplementedError("events cannot be converted back into metrics; restore a backup")


def of_job(**options: object) -> sa.Column:
    job = sa.ForeignKey("jobs.id", ondelete="CASCADE")
    return sa.Column("job_id", sa.String(40), job, nullable=False, **options)
