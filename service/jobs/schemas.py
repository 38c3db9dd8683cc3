"""Schemas of jobs, their requests, attempts and events."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, field_validator

from ml.ingest.warning import DataWarning
from ml.names import Name
from ml.specs import TrainingRequest
from ml.strict import Strict
from service.jobs.states import RequestedAction, Status
from service.models.schemas import StoredSpec
from service.schemas import Body, ModelRef, StoredAs

MAX_AFTER = 20
Part = TypeVar("Part", bound=BaseModel)


def _representable(instant: datetime) -> datetime:
    try:
        instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie in the years 1 to 9999 in UTC too") from None
    return instant


Instant = Annotated[AwareDatetime, Field(strict=False), AfterValidator(_representable)]


class JobOptions(Strict):
    """Options of how a job runs; they do not change what it learns."""

    priority: int = Field(
        default=0,
        ge=-1000,
        le=1000,
        description="Priority among the jobs of one owner; the highest runs first. An admin's "
        "counts among the jobs of all.",
    )
    not_before: Instant | None = Field(
        default=None, description="Earliest start, RFC 3339 with a time zone."
    )
    timeout_seconds: float | None = Field(
        default=None, gt=0, le=1e9, description="Time limit of one attempt."
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        le=100_000,
        description="Number of crashed attempts after which the job fails.",
    )
    checkpoint_seconds: float = Field(
        default=30.0, gt=0, le=1e9, description="Maximum seconds between two checkpoints."
    )
    checkpoint_epochs: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Maximum epochs between two checkpoints."
    )

    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="PyTorch threads, at most the number of cores; by default those of the trainer "
        "(`EPOCHD_TRAINER_THREADS`). On a CPU, sums of floats, and so the last bits of weights, "
        "depend on it.",
    )
    preemptible: bool = Field(
        default=False,
        description="Whether the running job gives its trainer to the job of an owner who has used "
        "less of late. It goes on by itself, from where it stopped.",
    )
    after: list[Annotated[str, Field(max_length=40)]] = Field(
        default=[],
        max_length=MAX_AFTER,
        description="Jobs that must succeed before this one starts.",
        examples=[["job_01JD3V0M8Q6W4N2X7Y9Z5K1T3B"]],
    )

    @field_validator("after")
    @classmethod
    def _once(cls, after: list[str]) -> list[str]:
        return list(dict.fromkeys(after))

    @classmethod
    def stored(cls, document: Mapping[str, Any]) -> "JobOptions":
        """Return options from a job's row, without validation: they were valid when the job was
        submitted."""
        return cls.model_construct(**document)


class JobChange(Strict):
    """Changes of a job; a field that is left out, or null, keeps its value."""

    name: Name | None = Field(
        default=None, description="Name of the model that the job will make, while it waits."
    )
    priority: int | None = Field(
        default=None, ge=-1000, le=1000, description="Priority; the highest runs first."
    )


class JobRequest(TrainingRequest, JobOptions):
    """A training run and its options."""

    @property
    def spec(self) -> TrainingRequest:
        """The training run without its options."""
        return _part(self, TrainingRequest)

    @property
    def options(self) -> JobOptions:
        return _part(self, JobOptions)


def _part(request: JobRequest, kind: type[Part]) -> Part:
    """Return the fields of a validated request that `kind` has too, and which of them are set."""
    values = {name: getattr(request, name) for name in kind.model_fields}
    return kind.model_construct(request.model_fields_set & values.keys(), **values)


class Progress(Body):
    """Progress of a job."""

    epoch: int = Field(
        description="Finished epochs; the last of a job stopped by `max_seconds` may be cut short."
    )
    epochs: int
    step: int = Field(description="Reported optimisation steps.")
    steps: int | None = Field(description="Total steps; null until the data is loaded.")
    eta_seconds: float | None = Field(
        description="Estimated time to the last step; null while unknown."
    )


class JobError(Body):
    """Reason for which a job failed."""

    kind: Literal[
        "invalid",
        "data_unavailable",
        "diverged",
        "out_of_memory",
        "storage",
        "timeout",
        "trainer_died",
        "dependency_failed",
        "internal",
    ]
    message: str
    traceback: str | None = Field(
        default=None,
        description="Of a bug, where it is; of a diverged job with `detect_anomaly`, the forward "
        "call whose result is not finite.",
    )


class Job(Body):
    """A training job."""

    id: str
    name: str
    owner: str | None = Field(
        description="Owner of the key that submitted the job; null without keys."
    )
    status: Status
    requested_action: RequestedAction | None = Field(
        description="Action requested of the running job."
    )
    attempt: int
    device: str | None = Field(description="Device of the latest attempt.")
    engine: str | None = Field(
        description="Engine of the training steps, such as `resident+manual`."
    )
    progress: Progress
    best_epoch: int | None = Field(
        description="Epoch with the lowest validation loss so far, or training loss where there is "
        "no validation split; null before the first."
    )
    stopped_by: str | None = Field(
        description="Reason why a succeeded job stopped training early: `patience` or "
        "`max_seconds`; null if all epochs are done."
    )
    metrics: dict[str, float] = Field(description="Latest value of each metric.")
    warnings: list[DataWarning] = Field(
        description="Warnings about the job and its data; some are known only once it is loaded.",
        examples=[
            [
                {
                    "column": None,
                    "kind": "held_out",
                    "message": "80 of 100 rows train; by default, 0.2 of the rows are held out "
                    "for the test; set split.test to choose another share",
                }
            ]
        ],
    )
    error: JobError | None
    model: ModelRef | None = Field(description="Model this job produced.")
    spec: StoredSpec = Field(description="Requested training run, with defaults filled in.")
    options: Annotated[dict[str, Any], StoredAs(JobOptions)]
    not_before: datetime | None = Field(description="Earliest start of a queued job.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Attempt(Body):
    """One attempt at a job."""

    attempt: int
    trainer: str
    started_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None
    outcome: str | None


class Event(Body):
    """An event of a job."""

    id: int
    kind: Literal["status", "log", "step", "epoch", "fold"]
    epoch: int | None
    step: int | None
    data: dict[str, Any]
    created_at: datetime


class MetricRecord(Body):
    """One metric report of a job."""

    id: int
    level: Literal["epoch", "step", "fold"]
    epoch: int
    step: int
    values: dict[str, float] = Field(
        description="Metrics by name. Those of a step have its position in the epoch beside the "
        "loss.",
        examples=[{"loss": 2.31, "rows_seen": 64, "rows": 60000, "percent": 0.11}],
    )
    created_at: datetime

    @classmethod
    def of(cls, event: Event) -> "MetricRecord":
        """Return the metric report in `event`."""
        return cls.model_validate(event.model_dump() | {"level": event.kind, "values": event.data})


class LogRecord(Body):
    """One line of a job's log."""

    id: int
    level: str
    message: str
    created_at: datetime

    @classmethod
    def of(cls, event: Event) -> "LogRecord":
        """Return the log line in `event`."""
        return cls.model_validate(event.model_dump() | event.data)
