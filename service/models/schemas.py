"""Models as documents: what is told of them, and what is asked of them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from ml.artifacts import LinearFormula, Parameter
from ml.datasets import DatasetRequest, SplitSpec
from ml.evaluation.schemas import Split
from ml.specs import TrainingSpec
from ml.strict import Strict
from service.schemas import Body, StoredAs

StoredSpec = Annotated[dict[str, Any], StoredAs(TrainingSpec)]


class Lineage(Body):
    """Where a model comes from."""

    job_id: str
    spec: StoredSpec
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


class EvaluationRequest(Strict):
    """What to measure a model on. By default what it was measured on when it was trained."""

    dataset: DatasetRequest | None = Field(
        default=None,
        description="Any data set of the same inputs and output; by default the model's own.",
    )
    division: SplitSpec | None = Field(
        default=None,
        description="How its rows are divided; by default as for the training, or with another "
        "data set as a job of it would.",
    )
    split: Split | None = Field(
        default=None,
        description="Which rows; by default `test` where there are such, else `validation`, else "
        "`train`.",
    )
