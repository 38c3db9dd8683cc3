"""Request and response bodies that are not already `ml.specs`."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ml.artifacts import LinearFormula, Parameter
from ml.inference import Prediction
from ml.inputs import PixelRange
from ml.specs import TrainingSpec
from ml.strict import Strict

Status = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]

Item = TypeVar("Item")


class Body(BaseModel):
    """The base of every response."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


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
        "invalid", "data_unavailable", "diverged", "out_of_memory", "trainer_died", "internal"
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
    attempt: int
    cancel_requested: bool
    device: str | None = Field(description="Where it runs or ran.")
    progress: Progress
    metrics: dict[str, float] = Field(description="The newest of each figure.")
    error: JobError | None
    model: ModelRef | None = Field(description="What it made.")
    spec: TrainingSpec = Field(description="What was asked for, defaults filled in.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class MetricRecord(Body):
    """One report of a job."""

    id: int
    level: Literal["epoch", "step"]
    epoch: int
    step: int
    values: dict[str, float]
    created_at: datetime


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


class PredictRequest(Strict):
    """Rows or images for a model. Give exactly one of `inputs` and `images`."""

    model: str = Field(description="`name` for the newest version, or `name@3`.")
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


class Health(Body):
    """A probe's answer."""

    status: Literal["ok"]
