"""The ORM tables, accessed only by the stores."""

import json
from datetime import UTC, date, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UTCDateTime(TypeDecorator[datetime]):
    """A timestamp, stored in UTC and read as UTC, since SQLite keeps no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value else None


class ColumnNames(TypeDecorator[str | list[str]]):
    """The name of a column, or several names, stored as a JSON list: equal ones are equal texts."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | list[str] | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return json.dumps([value] if isinstance(value, str) else value, ensure_ascii=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | list[str] | None:
        if value is None:
            return None
        names: list[str] = json.loads(value)
        return names[0] if len(names) == 1 else names


class Table(DeclarativeBase):
    """Base class of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {
        datetime: UTCDateTime,
        dict[str, Any]: JSON,
        dict[str, float]: JSON,
    }


class InstanceRow(Table):
    """The identity that this database shares with its data directory; at most one row."""

    __tablename__ = "instance"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created_at: Mapped[datetime]


class JobRow(Table):
    """A training job. The row is the authoritative state."""

    __tablename__ = "jobs"
    __table_args__ = (
        # The order of claims, and what holds a job back.
        Index(
            "ix_jobs_claim",
            "status",
            "owner",
            "role",
            "standing",
            "rank",
            "seq",
            "not_before",
            "waits_for",
        ),
        Index(None, "status", "seq"),
        Index(None, "name", "seq"),
        Index(None, "owner", "seq"),
        Index(None, "likeness", "seq"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    """Order of submission."""
    id: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(64))
    owner: Mapped[str | None] = mapped_column(String(64))
    """Owner of the job; null if it was made without a key."""
    role: Mapped[str] = mapped_column(String(16), default="admin")
    """Role of the key with which the job was submitted."""
    spec: Mapped[dict[str, Any]]
    options: Mapped[dict[str, Any]]
    """Options of how the job runs; they do not change the model it trains."""
    rank: Mapped[int] = mapped_column(default=0)
    """Negated priority: of an owner's jobs, the lowest rank is claimed first."""
    standing: Mapped[int] = mapped_column(default=0)
    """Negated priority of an admin's job, else 0: the lowest is claimed first, whoever owns it."""
    waits_for: Mapped[int] = mapped_column(default=0)
    """Number of jobs that must succeed before the queued job may run."""
    likeness: Mapped[str | None] = mapped_column(String(64))
    """Hash of what makes jobs take equally long; see `service.jobs.likeness`."""
    idempotency_key: Mapped[str | None] = mapped_column(String(255), index=True, unique=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    requested_action: Mapped[str | None] = mapped_column(String(16))
    """Action requested of the running job."""
    requested_at: Mapped[datetime | None]
    not_before: Mapped[datetime | None]
    """Earliest claim of the queued job: a scheduled start, or the back-off after a crash."""
    attempt: Mapped[int] = mapped_column(default=0)
    """Number of the current or latest attempt; every write of a trainer names its attempt."""
    lease_expires_at: Mapped[datetime | None]
    """Time at which a running job is taken from its attempt unless a heartbeat renews the lease."""
    crashes: Mapped[int] = mapped_column(default=0)
    """Crashed attempts since the job was submitted or retried by the user."""
    device_seconds: Mapped[float] = mapped_column(default=0.0)
    """Seconds for which attempts that have ended held a trainer."""
    device: Mapped[str | None] = mapped_column(String(16))
    engine: Mapped[str | None] = mapped_column(String(32))
    epoch: Mapped[int] = mapped_column(default=0)
    best_epoch: Mapped[int | None]
    """Finished epoch with the lowest monitored loss."""
    stopped_by: Mapped[str | None] = mapped_column(String(16))
    """Reason why a succeeded job stopped training before its last step."""
    step: Mapped[int] = mapped_column(BigInteger, default=0)
    steps: Mapped[int | None] = mapped_column(BigInteger)
    """Total optimisation steps of the run, known once the data is loaded."""
    metrics: Mapped[dict[str, float]] = mapped_column(default=dict)
    warnings: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    """Warnings about the data: those known at submission, then also those of its loading."""
    model_version: Mapped[int | None]
    """Version of the model this job produced."""
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    training_at: Mapped[datetime | None]
    """Time at which the current attempt began its first step, with its data loaded."""
    training_step: Mapped[int] = mapped_column(BigInteger, default=0)
    """Step at which the current attempt began."""
    finished_at: Mapped[datetime | None]
    """End of the job; null unless the status is succeeded, failed or cancelled."""


class JobDependencyRow(Table):
    """A job that must succeed before another may run, and has not yet."""

    __tablename__ = "job_dependencies"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    after_id: Mapped[str] = mapped_column(String(40), primary_key=True, index=True)
    """The job that must succeed; it may have been deleted."""


class RecentUseRow(Table):
    """Device-seconds that an owner used of late, by which owners take turns."""

    __tablename__ = "recent_use"

    owner: Mapped[str] = mapped_column(String(64), primary_key=True)
    """The owner; empty for jobs without one."""
    device_seconds: Mapped[float]
    """Sum over all ended attempts, each second weighted by its age at `at`."""
    at: Mapped[datetime]


class DailyUseRow(Table):
    """Use by an owner in a day of UTC. It stays when jobs are deleted."""

    __tablename__ = "daily_use"

    owner: Mapped[str] = mapped_column(String(64), primary_key=True)
    """The owner; empty for jobs without one."""
    day: Mapped[date] = mapped_column(primary_key=True, index=True)
    device_seconds: Mapped[float]
    jobs: Mapped[int]
    """Jobs that ended on this day after an attempt."""


class AttemptRow(Table):
    """One attempt at a job, kept as history."""

    __tablename__ = "attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    trainer: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    """Time of the last heartbeat."""
    training_at: Mapped[datetime | None]
    """Time at which the attempt first began to train, with its data loaded."""
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(32))


class EventRow(Table):
    """An event of a job; the events in order of id are the job's history.

    A metric is written once per step or epoch, by the first attempt that reaches it; an attempt
    that resumes and repeats the step leaves it unchanged.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index(None, "job_id", "id"),
        UniqueConstraint("job_id", "kind", "step"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(8))
    """`status`, `log`, or the level of a metric: `step`, `epoch` or `fold`."""
    epoch: Mapped[int | None]
    step: Mapped[int | None] = mapped_column(BigInteger)
    """Step of a metric; null for other events."""
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class ModelVersionRow(Table):
    """A version of a model. Its weights are in the artifact."""

    __tablename__ = "model_versions"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]
    job_id: Mapped[str] = mapped_column(String(40), unique=True)
    """Job that produced the version; it may have been deleted."""
    owner: Mapped[str | None] = mapped_column(String(64))
    """Owner of the version, who also owned the job; null if it was made without a key."""
    directory: Mapped[str] = mapped_column(String(255))
    """Directory of the artifact, below the models directory."""
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Size of the artifact; null if an earlier version of the service made it."""
    manifest: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    """Time of deletion. The row stays, so that its version number is not reused."""


class UnloadedModelRow(Table):
    """A model whose versions, including future ones, make no predictions until it is loaded."""

    __tablename__ = "unloaded_models"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    unloaded_at: Mapped[datetime]


class DatasetRow(Table):
    """An uploaded data set. Its rows are in the directory of its content, which identical data sets
    share."""

    __tablename__ = "datasets"
    __table_args__ = ({"sqlite_autoincrement": True},)

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    """Order of upload."""
    id: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(64))
    owner: Mapped[str | None] = mapped_column(String(64))
    """Owner of the data set; null if it was made without a key."""
    target: Mapped[str | list[str] | None] = mapped_column("targets", ColumnNames)
    """Default training target, or several."""
    sha256: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the uploaded file."""
    content: Mapped[str] = mapped_column(String(64), index=True)
    """SHA-256 of the file's hash and the read options; name of the directory of the rows."""
    bytes: Mapped[int] = mapped_column(BigInteger)
    """Size of the uploaded file."""
    options: Mapped[dict[str, Any]]
    """Options with which the file was read."""
    schema: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class ModelAliasRow(Table):
    """An alias of a model version, which can be moved to another version."""

    __tablename__ = "model_aliases"
    __table_args__ = (
        ForeignKeyConstraint(
            ["name", "version"], ["model_versions.name", "model_versions.version"]
        ),
    )

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int]
    etag: Mapped[str] = mapped_column(String(32))
    """ETag of the alias, which changes with every update."""
    updated_at: Mapped[datetime]


ACTIVE = text("revoked_at IS NULL")


class KeyRow(Table):
    """A key, which lets its bearer in. Revoked keys stay, so that their names can be told."""

    __tablename__ = "keys"
    __table_args__ = (
        Index(None, "name", unique=True, sqlite_where=ACTIVE, postgresql_where=ACTIVE),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    """Name of the key; keys that are not revoked have different ones."""
    owner: Mapped[str] = mapped_column(String(64))
    """Owner of what the key's bearer makes: a person, or an application."""
    role: Mapped[str] = mapped_column(String(16))
    models: Mapped[list[str]] = mapped_column(JSON, default=list)
    """Patterns of the names of the models that the key may use; empty for all models."""
    class_name: Mapped[str | None] = mapped_column(String(64))
    """Class whose pupil the owner is."""
    secret_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class SessionRow(Table):
    """A browser that is signed in with a key."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("keys.id", ondelete="CASCADE"), index=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    address: Mapped[str] = mapped_column(String(64))
    browser: Mapped[str] = mapped_column(String(200))
    """Header `User-Agent` at the sign-in."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
