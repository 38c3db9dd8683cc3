"""Jobs as documents: submitted, shown, and what happened to them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, Field

from ml.specs import TrainingRequest
from ml.strict import Strict
from service.jobs.states import RequestedAction, Status
from service.models.schemas import StoredSpec
from service.schemas import Body, ModelRef, StoredAs

Part = TypeVar("Part", bound=BaseModel)


class JobOptions(Strict):
    """How a job is run, which does not change what it learns."""

    priority: int = Field(default=0, ge=-1000, le=1000, description="The highest runs first.")
    not_before: Annotated[AwareDatetime, Field(strict=False)] | None = Field(
        default=None, description="The earliest start, RFC 3339 with a time zone."
    )
    timeout_seconds: float | None = Field(
        default=None, gt=0, le=1e9, description="How long one attempt may run."
    )
    max_attempts: int = Field(
        default=3, ge=1, le=100_000, description="Attempts that may end in a crash, the last fails."
    )
    checkpoint_seconds: float = Field(
        default=30.0, gt=0, le=1e9, description="At most so long from checkpoint to checkpoint ..."
    )
    checkpoint_epochs: int | None = Field(
        default=None, ge=1, le=1_000_000, description="... and at most so many epochs."
    )

    @classmethod
    def stored(cls, document: Mapping[str, Any]) -> "JobOptions":
        """Return options from a job's row. They were valid when it was submitted, and are not held
        to the rules of today."""
        return cls.model_construct(**document)


class JobRequest(TrainingRequest, JobOptions):
    """A training run, and how to run it."""

    @property
    def spec(self) -> TrainingRequest:
        """What is to be learned."""
        return _part(self, TrainingRequest)

    @property
    def options(self) -> JobOptions:
        """How it is to be run."""
        return _part(self, JobOptions)


def _part(request: JobRequest, kind: type[Part]) -> Part:
    """Return those fields of a request, checked with it, that are also `kind`'s."""
    return kind.model_construct(**{name: getattr(request, name) for name in kind.model_fields})


class Progress(Body):
    """How far a job is."""

    epoch: int = Field(description="Epochs finished.")
    epochs: int
    step: int = Field(description="Optimisation steps reported.")
    steps: int | None = Field(description="Steps in all; null until the data is loaded.")
    eta_seconds: float | None = Field(description="Until the last step; null while unknown.")


class JobError(Body):
    """Why a job failed."""

    kind: Literal[
        "invalid",
        "data_unavailable",
        "diverged",
        "out_of_memory",
        "storage",
        "timeout",
        "trainer_died",
        "internal",
    ]
    message: str
    traceback: str | None = None


class Job(Body):
    """A training job."""

    id: str
    name: str
    status: Status
    requested_action: RequestedAction | None = Field(
        description="Action requested of the running job."
    )
    attempt: int
    device: str | None = Field(description="Where it runs or ran.")
    engine: str | None = Field(description="How its steps run, such as `resident+manual`.")
    progress: Progress
    metrics: dict[str, float] = Field(description="The newest of each figure.")
    error: JobError | None
    model: ModelRef | None = Field(description="What it made.")
    spec: StoredSpec = Field(description="What was asked for, defaults filled in.")
    options: Annotated[dict[str, Any], StoredAs(JobOptions)]
    not_before: datetime | None = Field(description="Queued, it does not start earlier.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Attempt(Body):
    """One try at a job."""

    attempt: int
    trainer: str
    started_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None
    outcome: str | None


class Event(Body):
    """Something that happened to a job."""

    id: int
    kind: Literal["status", "log", "step", "epoch", "fold"]
    epoch: int | None
    step: int | None
    data: dict[str, Any]
    created_at: datetime


class MetricRecord(Body):
    """One report of a job."""

    id: int
    level: Literal["epoch", "step", "fold"]
    epoch: int
    step: int
    values: dict[str, float]
    created_at: datetime

    @classmethod
    def of(cls, event: Event) -> "MetricRecord":
        """Return the report that `event` is."""
        return cls.model_validate(event.model_dump() | {"level": event.kind, "values": event.data})


class LogRecord(Body):
    """One line of a job's log."""

    id: int
    level: str
    message: str
    created_at: datetime

    @classmethod
    def of(cls, event: Event) -> "LogRecord":
        """Return the line that `event` is."""
        return cls.model_validate(event.model_dump() | event.data)
