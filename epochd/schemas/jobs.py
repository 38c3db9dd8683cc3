"""Jobs, their events, metrics, logs, attempts and charts."""

from datetime import datetime
from typing import Any

from epochd.schemas.base import DataWarning, ModelRef, Schema

ENDED = frozenset({"succeeded", "failed", "cancelled"})
"""Statuses of a job that has ended."""


class Progress(Schema):
    """Progress of a job."""

    epoch: int
    epochs: int
    step: int
    steps: int | None
    eta_seconds: float | None


class JobError(Schema):
    """Reason for which a job failed."""

    kind: str
    message: str
    traceback: str | None = None


class JobInfo(Schema):
    """A training job, as it was when the service was asked."""

    id: str
    name: str
    owner: str | None = None
    status: str
    requested_action: str | None
    attempt: int
    device: str | None
    engine: str | None
    progress: Progress
    best_epoch: int | None
    stopped_by: str | None
    metrics: dict[str, float]
    warnings: list[DataWarning]
    error: JobError | None
    model: ModelRef | None
    spec: dict[str, Any]
    options: dict[str, Any]
    not_before: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def has_ended(self) -> bool:
        """Whether the job has succeeded, failed or been cancelled."""
        return self.status in ENDED


class Event(Schema):
    """An event of a job: a change of its status, a log line, or the metrics of a step, epoch or
    fold."""

    id: int
    kind: str
    epoch: int | None
    step: int | None
    data: dict[str, Any]
    created_at: datetime

    @property
    def ends_job(self) -> bool:
        """Whether the job had ended with this event; it may have been retried since."""
        return self.kind == "status" and self.data.get("status") in ENDED


class MetricRecord(Schema):
    """One metric report of a job."""

    id: int
    level: str
    epoch: int
    step: int
    values: dict[str, float]
    created_at: datetime


class LogRecord(Schema):
    """One line of a job's log."""

    id: int
    level: str
    message: str
    created_at: datetime


class Attempt(Schema):
    """One attempt at a job."""

    attempt: int
    trainer: str
    started_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None
    outcome: str | None


class ChartSummary(Schema):
    """A chart of a job."""

    name: str
    title: str
    description: str
    ready: bool
