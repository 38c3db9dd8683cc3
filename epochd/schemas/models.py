"""Models, their versions, aliases and evaluations."""

from datetime import datetime
from typing import Any

from pydantic import Field

from epochd.schemas.base import ModelRef, Schema


class Parameter(Schema):
    """One learned tensor."""

    name: str
    shape: list[int]


class LinearFormula(Schema):
    """Formula of a linear regression, in the units of the data."""

    weights: dict[str, float]
    bias: float


class Lineage(Schema):
    """Origin of a model."""

    job_id: str
    spec: dict[str, Any]
    data_sha256: str
    weights_sha256: str
    device: str
    threads: int | None
    cpu_capability: str | None
    torch_version: str
    epochd_version: str


class ModelInfo(Schema):
    """A version of a trained model."""

    name: str
    version: int
    owner: str | None = None
    aliases: list[str]
    created_at: datetime
    structure: str
    parameters: list[Parameter]
    parameter_count: int
    linear: LinearFormula | dict[str, LinearFormula] | None
    inputs: dict[str, Any]
    output: dict[str, Any]
    best_epoch: int | None
    stopped_by: str | None
    metrics: dict[str, float]
    targets: dict[str, dict[str, float]] | None = None
    lineage: Lineage
    damage: str | None = None

    @property
    def ref(self) -> ModelRef:
        """Name and version."""
        return ModelRef(name=self.name, version=self.version)


class ModelSummary(Schema):
    """A model with its versions and aliases."""

    name: str
    owner: str | None = None
    latest: int
    versions: list[int]
    aliases: dict[str, int]
    unloaded: bool


class VersionInfo(Schema):
    """A version of a model in a list."""

    name: str
    version: int
    owner: str | None
    aliases: list[str]
    created_at: datetime
    job_id: str
    metrics: dict[str, float]
    parameter_count: int


class ModelAlias(Schema):
    """Another name for a version, used as `name@alias`."""

    name: str
    alias: str
    version: int
    updated_at: datetime
    etag: str


class DescribedLayer(Schema):
    """A layer of a network that is not trained yet."""

    name: str
    kind: str
    shape: list[int]
    parameters: int


class ModelDescription(Schema):
    """A network before it is trained."""

    model: dict[str, Any]
    structure: str
    parameters: list[Parameter]
    parameter_count: int
    layers: list[DescribedLayer]
    multiply_adds: int
    is_exact: bool


class Evaluation(Schema):
    """Metrics of a model on rows: those of a classifier (`kind` is `classes`), or of a regression
    of one target (`value`) or several (`values`). What does not apply, or is undefined, is None."""

    kind: str
    split: str
    rows: int
    loss: float | None
    unknown: dict[str, int] = Field(default={})
    baseline: dict[str, Any] | None = None

    accuracy: float | None = None
    top_k: dict[int, float] | None = None
    log_loss: float | None = None
    macro: dict[str, float | None] | None = None
    weighted: dict[str, float | None] | None = None
    classes: list[dict[str, Any]] | None = None
    confusion: list[list[int]] | None = None
    calibration: dict[str, Any] | None = None

    mse: float | None = None
    mae: float | None = None
    rmse: float | None = None
    r2: float | None = None
    max_error: float | None = None
    residuals: dict[str, Any] | None = None
    targets: dict[str, dict[str, Any]] | None = None
