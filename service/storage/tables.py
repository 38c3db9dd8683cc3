"""The ORM tables. Only the stores speak to them."""

from datetime import UTC, datetime
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
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UTCDateTime(TypeDecorator[datetime]):
    """A moment. SQLite keeps no time zone, so it is always UTC there, and marked so when read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Take any zone."""
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give UTC."""
        return value.replace(tzinfo=UTC) if value else None


class Table(DeclarativeBase):
    """The base of every table."""

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


class JobRow(Table):
    """A training job. Its row is the truth about it."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index(None, "status", "rank", "seq"),
        Index(None, "status", "seq"),
        Index(None, "name", "seq"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    """Order of submission."""
    id: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(64))
    spec: Mapped[dict[str, Any]]
    options: Mapped[dict[str, Any]]
    """How it is run, which does not change what it learns."""
    rank: Mapped[int] = mapped_column(default=0)
    """The priority, negated: the lowest is claimed first."""
    idempotency_key: Mapped[str | None] = mapped_column(String(255), index=True, unique=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    requested_action: Mapped[str | None] = mapped_column(String(16))
    """The action requested of it while it runs."""
    requested_at: Mapped[datetime | None]
    not_before: Mapped[datetime | None]
    """Queued, it is not claimed earlier: a scheduled start, or the wait after a crash."""
    attempt: Mapped[int] = mapped_column(default=0)
    """Which try runs now, or ran last; each write of a trainer names its own."""
    lease_expires_at: Mapped[datetime | None]
    """Running, it is taken from an attempt without a heartbeat by then."""
    crashes: Mapped[int] = mapped_column(default=0)
    """Attempts that ended without a word, since it was submitted or retried by hand."""
    device: Mapped[str | None] = mapped_column(String(16))
    engine: Mapped[str | None] = mapped_column(String(32))
    epoch: Mapped[int] = mapped_column(default=0)
    step: Mapped[int] = mapped_column(BigInteger, default=0)
    steps: Mapped[int | None] = mapped_column(BigInteger)
    """Optimisation steps in the whole run, known once the data is loaded."""
    metrics: Mapped[dict[str, float]] = mapped_column(default=dict)
    model_version: Mapped[int | None]
    """Of the model of the job's name that it made."""
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    training_at: Mapped[datetime | None]
    """When this attempt's data was loaded and its first step began ..."""
    training_step: Mapped[int] = mapped_column(BigInteger, default=0)
    """... after so many steps of earlier attempts."""
    finished_at: Mapped[datetime | None]
    """Set while the status is one in which the job has ended, and only then."""


class AttemptRow(Table):
    """One try at a job, kept for whoever asks what happened."""

    __tablename__ = "attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    trainer: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    """When it was heard of last."""
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(32))


class EventRow(Table):
    """Something that happened to a job: its history, in order, is its events.

    A metric is written once for each step or epoch, by whichever attempt gets there first; an
    attempt that resumes and passes it again finds it there.
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
    """status, log, or the level of a metric: step, epoch."""
    epoch: Mapped[int | None]
    step: Mapped[int | None] = mapped_column(BigInteger)
    """Of a metric only."""
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class ModelVersionRow(Table):
    """A trained model's place among the versions of its name. Its artifact holds the rest."""

    __tablename__ = "model_versions"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]
    job_id: Mapped[str] = mapped_column(String(40), unique=True)
    """Which made it; it may be deleted since."""
    directory: Mapped[str] = mapped_column(String(255))
    """Of the artifact, below the models directory."""
    manifest: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    """The row of a deleted version stays, so that its number is never given again."""


class UnloadedModelRow(Table):
    """A name whose versions answer nothing, those to come included, until it is loaded."""

    __tablename__ = "unloaded_models"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    unloaded_at: Mapped[datetime]


class DatasetRow(Table):
    """An uploaded data set. Its rows lie in the directory of its content, which others that are
    equal share."""

    __tablename__ = "datasets"
    __table_args__ = ({"sqlite_autoincrement": True},)

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    """Order of arrival."""
    id: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(64))
    target: Mapped[str | None] = mapped_column(String(1000))
    """What is learned by default."""
    sha256: Mapped[str] = mapped_column(String(64))
    """Of the file."""
    content: Mapped[str] = mapped_column(String(64), index=True)
    """SHA-256 of the file's and of how it was read; the name of the directory of its rows."""
    bytes: Mapped[int] = mapped_column(BigInteger)
    """Of the file."""
    options: Mapped[dict[str, Any]]
    """How it was read."""
    schema: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class ModelAliasRow(Table):
    """Another name for a version, which can be moved to another version."""

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
    """Another one after every change."""
    updated_at: Mapped[datetime]
