"""Request and response bodies about models."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from ml.artifacts import LinearFormula, Parameter
from ml.datasets import DatasetRequest, SplitSpec
from ml.evaluation.schemas import Split
from ml.models import ModelSpec
from ml.specs import TrainingSpec
from ml.strict import Strict
from service.schemas import Body, StoredAs

StoredSpec = Annotated[dict[str, Any], StoredAs(TrainingSpec)]


class Lineage(Body):
    """Origin of a model."""

    job_id: str
    spec: StoredSpec
    data_sha256: str = Field(description="SHA-256 of the train, validation and test rows.")
    weights_sha256: str = Field(description="SHA-256 of the model's `model.safetensors`.")
    device: str
    threads: int | None = Field(
        description="PyTorch threads of the last attempt; null for models of earlier versions."
    )
    cpu_capability: str | None = Field(
        description="Instruction set of PyTorch's kernels on the trainer's CPU, such as `AVX2`; "
        "null for models of earlier versions."
    )
    torch_version: str
    epochd_version: str


class ModelVersion(Body):
    """A version of a trained model."""

    name: str
    version: int
    owner: str | None = Field(description="Owner of the job that trained it; null without keys.")
    aliases: list[str] = Field(description="Aliases that point to this version.")
    created_at: datetime
    structure: str = Field(description="Layers, as printed by `print(model)`.")
    parameters: list[Parameter]
    parameter_count: int
    linear: LinearFormula | dict[str, LinearFormula] | None = Field(
        description="Formula learned by a linear regression, in the units of the data; of several "
        "targets, the formula of each by its name."
    )
    inputs: dict[str, Any] = Field(description="Inputs that `/predict` accepts.")
    output: dict[str, Any] = Field(description="Output that `/predict` returns.")
    best_epoch: int | None = Field(
        description="Epoch with the lowest validation loss, or training loss where there was no "
        "validation split; with `keep_best`, that of the weights. Null for models of earlier "
        "versions."
    )
    stopped_by: str | None = Field(
        description="Reason why training stopped early: `patience` or `max_seconds`; null if it "
        "did not."
    )
    metrics: dict[str, float]
    targets: dict[str, dict[str, float]] | None = Field(
        default=None,
        description="Metrics of each of several targets on the test rows, by its name, in its "
        "units; null of a single target, and without test rows.",
        examples=[{"height": {"rmse": 2.1, "r2": 0.93}, "weight": {"rmse": 4.7, "r2": 0.88}}],
    )
    lineage: Lineage
    damage: str | None = Field(
        default=None,
        description="Stored file of the version that is missing or damaged; null if all are "
        "intact.",
    )


class VersionSummary(Body):
    """A version of a model in a list."""

    name: str
    version: int
    owner: str | None = Field(description="Owner of the job that trained it; null without keys.")
    aliases: list[str] = Field(description="Aliases that point to this version.")
    created_at: datetime
    job_id: str = Field(description="Job that trained it.")
    metrics: dict[str, float]
    parameter_count: int


class DescriptionRequest(Strict):
    """The fields of a job that determine its network."""

    dataset: DatasetRequest
    model: ModelSpec | None = Field(
        default=None, description="Network to describe; by default that of a job on the data set."
    )
    split: SplitSpec = Field(
        default=SplitSpec(),
        description="Division of the rows: a column of groups or times is no feature.",
    )


class DescribedLayer(Body):
    """A layer of a network that is not trained yet."""

    name: str = Field(description="Name, which is also that of its parameters.")
    kind: str = Field(description="Class of the layer in PyTorch, or in epochd.")
    shape: list[int] = Field(description="Shape of its outputs for one row.")
    parameters: int = Field(description="Number of its own parameters.")


class ModelDescription(Body):
    """A network before it is trained."""

    model: dict[str, Any] = Field(
        description="The model as a job shows it, with its defaults filled in."
    )
    structure: str = Field(
        description="Layers, as printed by `print(model)`, without the preprocessing, which is "
        "fitted to the data."
    )
    parameters: list[Parameter] = Field(description="Shape of each parameter.")
    parameter_count: int
    layers: list[DescribedLayer] = Field(description="Layers in the order of the computation.")
    multiply_adds: int = Field(
        description="Multiplications, each with an addition, that the matrix products and "
        "convolutions take for one row."
    )
    is_exact: bool = Field(
        description="Whether all sizes are exact. Those of an uploaded table with categories, "
        "dates or gaps are upper bounds until a job loads its rows."
    )


class ModelSummary(Body):
    """A model with its versions and aliases."""

    name: str
    owner: str | None = Field(
        description="Owner of the first version, to whom the name belongs; null without keys."
    )
    latest: int
    versions: list[int]
    aliases: dict[str, int] = Field(description="Version that each alias points to.")
    unloaded: bool = Field(
        description="Whether the model is unloaded. `POST /v2/repository/models/{name}/load` loads "
        "it."
    )


class AliasRequest(Strict):
    """New target of an alias."""

    version: int = Field(ge=1, le=2**31 - 1)


class ModelAlias(Body):
    """Another name for a version, used as `name@alias`. The bare name means `default` if set."""

    name: str
    alias: str
    version: int
    updated_at: datetime
    etag: str = Field(description="Value for `If-Match`, also sent in the header `ETag`.")


class EvaluationRequest(Strict):
    """Data to evaluate a model on; by default the data of the evaluation at training."""

    dataset: DatasetRequest | None = Field(
        default=None,
        description="Data set with the same inputs and output; by default the model's own. Of an "
        "uploaded table, the columns of the model are read in any order, and others are ignored.",
    )
    division: SplitSpec | None = Field(
        default=None,
        description="Division of the rows; by default that of the training, or for another data "
        "set the default of a job.",
    )
    split: Split | None = Field(
        default=None,
        description="Rows to evaluate on. By default `all` rows of another data set, unless the "
        "request divides it by `division` or `split_by`; else the first split that has rows of "
        "`test`, `validation` and `train`.",
        examples=["all", "test"],
    )
