"""A training run as a document, before and after it is resolved.

`TrainingRequest` is what a user writes. `resolve` looks up the data set that it names and fills in
what it leaves out, and returns a `TrainingSpec`: what is stored, and what weights are a function
of. Reading either asks neither a database nor a file.
"""

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from ml import datasets
from ml.datasets import DatasetRequest, DatasetSpec, SplitSpec, check_split
from ml.datasets.uploads import NO_UPLOADS, Uploads, UploadSpec
from ml.errors import located_at
from ml.losses import LossName, losses_for
from ml.models import LinearSpec, MLPSpec, ModelSpec
from ml.optimizers import AdamSpec, OptimizerSpec
from ml.schedules import ConstantSpec, ScheduleSpec
from ml.signature import Signature
from ml.strict import Strict, parse

MAX_EPOCHS = 1_000_000


def _matching(pattern: str, wanted: str) -> Callable[[str], str]:
    """Return a validator whose error says in words what a pattern wants."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {wanted}, not {text[:80]!r}")
        return text

    return check


NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
NAME_IN_WORDS = "1 to 64 letters, digits, dots, underscores and hyphens, a letter or digit first"
DEVICE = r"auto|cpu|cuda(:\d{1,2})?"
DEVICE_IN_WORDS = "auto (a GPU where there is one), cpu, cuda or cuda:N"

Name = Annotated[
    str,
    AfterValidator(_matching(NAME, NAME_IN_WORDS)),
    WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"}),
]
Device = Annotated[
    str,
    AfterValidator(_matching(DEVICE, DEVICE_IN_WORDS)),
    WithJsonSchema({"type": "string", "pattern": f"^({DEVICE})$"}),
]

Precision = Literal["float32", "tf32", "bfloat16"]

# The tutorial's network, dropout after the first activation only.
TUTORIAL_MLP = MLPSpec(hidden=[512, 256], activation="relu", dropout=[0.2, 0.0])


class TrainingRequest(Strict):
    """A training run, with all but the data set left to defaults where it is not told."""

    dataset: DatasetRequest
    name: Name | None = Field(
        default=None,
        description="The name of the model it makes; by default the data set's own, or its kind.",
    )
    split: SplitSpec = SplitSpec()
    model: ModelSpec | None = Field(
        default=None,
        description="By default an MLP 784-512-256-10 with dropout 0.2 after the first activation "
        "for images, and a linear model for rows.",
    )
    optimizer: OptimizerSpec = AdamSpec()
    loss: LossName | None = Field(
        default=None,
        description="By default cross_entropy for classes and mse for values.",
    )
    schedule: ScheduleSpec = Field(
        default=ConstantSpec(), description="How the learning rate changes over the run."
    )
    clip_grad_norm: float | None = Field(
        default=None, gt=0, le=1e30, description="The longest the gradient of a step may be."
    )
    patience: int | None = Field(
        default=None,
        ge=0,
        le=MAX_EPOCHS,
        description="Stop early: epochs to go on without a lower loss, of the validation split "
        "where there is one, else of the training rows.",
    )
    min_delta: float = Field(
        default=0.0, ge=0, le=1e30, description="How much lower a loss must be to count as lower."
    )
    keep_best: bool = Field(
        default=False,
        description="Keep the weights of the epoch with the lowest loss, not the last.",
    )
    epochs: int = Field(default=10, ge=1, le=MAX_EPOCHS)
    batch_size: int = Field(default=64, ge=1, le=10_000_000)
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="Of the initial weights, the order and the dropout."
    )
    device: Device = Field(default="auto", description=f"{DEVICE_IN_WORDS}.")
    precision: Precision = Field(
        default="float32",
        description="Of the arithmetic: tf32 and bfloat16 are faster where the device has them. "
        "Weights are float32 in any case.",
    )
    compile: bool = Field(
        default=False,
        description="Compile the network first (torch.compile): takes half a minute, and pays for "
        "large networks and long runs.",
    )
    report_every: int = Field(
        default=100, ge=1, le=1_000_000, description="Steps between two step metrics."
    )
    detect_anomaly: bool = Field(
        default=False, description="Turn on autograd's anomaly detection: slower, tells more."
    )


class TrainingSpec(TrainingRequest):
    """One training run, nothing left open. The same spec gives the same weights, bit for bit on
    CPU."""

    dataset: DatasetSpec
    name: Name = Field(description="The name of the model it makes.")
    model: ModelSpec
    loss: LossName

    @classmethod
    def of(cls, document: object, uploads: Uploads = NO_UPLOADS) -> "TrainingSpec":
        """Return the spec of what a user wrote.

        Raises:
            Invalid: the first mistake in it, at its place.
        """
        return resolve(parse(TrainingRequest, document), uploads)

    @field_validator("split")
    @classmethod
    def _split_leaves_no_part_empty(cls, split: SplitSpec, info: ValidationInfo) -> SplitSpec:
        if "dataset" in info.data:
            check_split(info.data["dataset"], split)
        return split

    @field_validator("loss")
    @classmethod
    def _loss_fits_the_output(cls, loss: LossName, info: ValidationInfo) -> LossName:
        if "dataset" in info.data:
            fitting = losses_for(info.data["dataset"].signature())
            if loss not in fitting:
                raise ValueError(f"{loss} does not fit this data set; use {' or '.join(fitting)}")
        return loss


def resolve(request: TrainingRequest, uploads: Uploads) -> TrainingSpec:
    """Return the run that a request means.

    Raises:
        Invalid: the data set cannot be found, or divided or learned so; `loc` is within `request`.
    """
    with located_at("dataset"):
        dataset = datasets.resolve(request.dataset, uploads)
    signature = dataset.signature()
    asked = {name: getattr(request, name) for name in TrainingSpec.model_fields}
    filled_in = {
        "dataset": dataset,
        "name": request.name or _default_name(dataset),
        "model": request.model or _default_model(signature),
        "loss": request.loss or losses_for(signature)[0],
    }
    return parse(TrainingSpec, asked | filled_in)


def _default_name(dataset: DatasetSpec) -> str:
    return dataset.resolved.name if isinstance(dataset, UploadSpec) else dataset.kind


def _default_model(signature: Signature) -> LinearSpec | MLPSpec:
    return TUTORIAL_MLP if signature.inputs.kind == "images" else LinearSpec()
