"""Request and response bodies that are not already `ml.specs`."""

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from ml.artifacts import LinearFormula, Parameter
from ml.inference.model import Prediction
from ml.inputs.rows import PixelRange
from ml.specs import TrainingSpec
from ml.strict import Strict
from service.jobs.states import Status, Wish

Item = TypeVar("Item")


class Body(BaseModel):
    """The base of every response."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


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


class JobRequest(TrainingSpec, JobOptions):
    """A training run, and how to run it."""


class Page(Body, Generic[Item]):
    """One page of a list."""

    data: list[Item]
    next: str | None = Field(description="Pass it as `after` for the next page; null at the end.")


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


class ModelRef(Body):
    """A version of a model."""

    name: str
    version: int


class Job(Body):
    """A training job."""

    id: str
    name: str
    status: Status
    wish: Wish | None = Field(description="What is asked of it while it runs.")
    attempt: int
    device: str | None = Field(description="Where it runs or ran.")
    engine: str | None = Field(description="How its steps run: see the page on speed.")
    progress: Progress
    metrics: dict[str, float] = Field(description="The newest of each figure.")
    error: JobError | None
    model: ModelRef | None = Field(description="What it made.")
    spec: TrainingSpec = Field(description="What was asked for, defaults filled in.")
    options: JobOptions
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


class Lineage(Body):
    """Where a model comes from."""

    job_id: str
    spec: TrainingSpec
    data_sha256: str = Field(description="Of every row it was trained, validated and tested on.")
    weights_sha256: str = Field(description="Of its model.safetensors.")
    device: str
    torch_version: str
    epochd_version: str


class ModelVersion(Body):
    """A trained model."""

    name: str
    version: int
    aliases: list[str] = Field(description="That stand for it.")
    created_at: datetime
    structure: str = Field(description="As `print(model)` shows it.")
    parameters: list[Parameter]
    parameter_count: int
    linear: LinearFormula | None = Field(
        description="What a linear regression learned, in the units of the data."
    )
    inputs: dict[str, Any] = Field(description="What `/predict` takes.")
    output: dict[str, Any] = Field(description="What `/predict` answers.")
    metrics: dict[str, float]
    lineage: Lineage


class ModelSummary(Body):
    """A model's name and its versions."""

    name: str
    latest: int
    versions: list[int]
    aliases: dict[str, int] = Field(description="The version that each stands for.")
    unloaded: bool = Field(
        description="No version answers until `POST /v2/repository/models/{name}/load`."
    )


class AliasRequest(Strict):
    """The version that an alias is to stand for."""

    version: int = Field(ge=1, le=2**31 - 1)


class ModelAlias(Body):
    """Another name for a version: `name@alias`. `default` is what the bare name means."""

    name: str
    alias: str
    version: int
    updated_at: datetime
    etag: str = Field(description="For `If-Match`; the header `ETag` bears it too.")


class PredictRequest(Strict):
    """Rows or images for a model. Give exactly one of `inputs` and `images`."""

    model: str = Field(
        description="`name@3`, `name@alias`, or `name`: its alias `default` if it has one, else "
        "its newest version."
    )
    inputs: list[Any] | None = Field(
        default=None,
        description="Rows: lists of numbers in the order of the features or objects by feature "
        "name; for images 28 lists of 28 pixels or 784 pixels, light ink on dark ground.",
    )
    images: list[str] | None = Field(
        default=None, description="PNG or JPEG files of any size, base64."
    )
    pixels: PixelRange | None = Field(
        default=None,
        description="The range of pixels in `inputs`. By default 0-255; needed only where every "
        "pixel of an image is 1 or less.",
    )

    @model_validator(mode="after")
    def _rows_or_images(self) -> "PredictRequest":
        if (self.inputs is None) == (self.images is None):
            raise ValueError("give exactly one of inputs and images")
        return self


class PredictResponse(Body):
    """One prediction per row, in order."""

    model: str
    version: int
    predictions: list[Prediction]


def self_contained(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a model that is not recursive, with nothing in it by reference: for
    a body that OpenAPI is told of by hand."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolved(node: Any) -> Any:
        if isinstance(node, list):
            return [resolved(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return resolved(definitions[node["$ref"].rpartition("/")[2]])
        return {key: resolved(value) for key, value in node.items()}

    return {key: resolved(value) for key, value in schema.items()}


class Health(Body):
    """A probe's answer."""

    status: Literal["ok"]


class Readiness(Health):
    """The readiness probe's answer."""

    warnings: list[str] = Field(
        description="What the operator should look at, though the service works: a GPU that "
        "cannot be used."
    )
