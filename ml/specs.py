"""Specs of training runs, before and after resolution.

A `TrainingRequest` is the user's document. `resolve` looks up its data set, fills in the defaults
and returns a `TrainingSpec`, which is stored and determines the weights. Parsing either reads
neither a database nor a file.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from ml import datasets, recipes
from ml.augmentation import MAX_CHANGES, Change, Crop
from ml.averaging import AverageSpec
from ml.datasets import DatasetRequest, DatasetSpec, SplitSpec, check_split
from ml.datasets.division import training_sizes
from ml.datasets.mnist import VisionSpec
from ml.datasets.uploads import NO_UPLOADS, Uploads, UploadSpec, Use
from ml.errors import Invalid, located_at
from ml.losses import CrossEntropySpec, LossSpec, losses_for
from ml.models import AutoSpec, LinearSpec, MLPSpec, ModelSpec
from ml.names import Name, matching
from ml.optimizers import AdamSpec, OptimizerSpec
from ml.schedules import ConstantSpec, ScheduleSpec
from ml.signature import Classes, Features, Images
from ml.strict import Strict, as_validation_error, parse

MAX_EPOCHS = 1_000_000


DEVICE = r"auto|cpu|cuda(:\d{1,2})?"
DEVICE_IN_WORDS = "auto (a GPU where there is one), cpu, cuda or cuda:N"

Device = Annotated[
    str,
    AfterValidator(matching(DEVICE, DEVICE_IN_WORDS)),
    WithJsonSchema({"type": "string", "pattern": f"^({DEVICE})$"}),
]

Precision = Literal["float32", "tf32", "bfloat16"]

# The tutorial's network has dropout after the first activation only.
TUTORIAL_MLP = MLPSpec(hidden=[512, 256], activation="relu", dropout=[0.2, 0.0])


class TrainingRequest(Strict):
    """A training run; every field except `dataset` has a default."""

    dataset: DatasetRequest
    name: Name | None = Field(
        default=None,
        description="Name of the model; by default the name of the data set, or its kind.",
    )
    split: SplitSpec = SplitSpec()
    model: ModelSpec | None = Field(
        default=None,
        description="Network to train; by default an MLP 784-512-256-10 with dropout 0.2 after the "
        "first activation for images, a linear model for synthetic rows, and `auto` for an "
        "uploaded table, which also chooses by the data what the request does not say about its "
        "training: validation rows, `epochs`, `batch_size`, `optimizer`, `schedule`, `patience`, "
        "`keep_best`, `clip_grad_norm` and `precision`.",
    )
    augment: list[Change] = Field(
        default=[],
        max_length=MAX_CHANGES,
        description="Random changes of the training images, each image by its own, in their order: "
        "`flip`, `crop`, `shift`, `rotate`, `scale` and `shear`.",
        examples=[["flip", {"crop": 2}, {"rotate": 10}, {"scale": 0.1}]],
    )
    optimizer: OptimizerSpec = AdamSpec()
    loss: LossSpec | None = Field(
        default=None,
        description="Loss function; by default cross_entropy for classes and mse for values.",
    )
    schedule: ScheduleSpec = Field(default=ConstantSpec(), description="Learning-rate schedule.")
    clip_grad_norm: float | None = Field(
        default=None, gt=0, le=1e30, description="Maximum norm of the gradient of a step."
    )
    average: AverageSpec | None = Field(
        default=None,
        description="Averaging of the weights over steps or epochs. The averages are what is "
        "measured after an epoch, and the model.",
    )
    patience: int | None = Field(
        default=None,
        ge=0,
        le=MAX_EPOCHS,
        description="Early stopping: epochs to continue without a lower validation loss, or "
        "training loss where there is no validation split.",
    )
    min_delta: float = Field(
        default=0.0,
        ge=0,
        le=1e30,
        description="Minimum decrease of the loss that `patience` counts as an improvement.",
    )
    keep_best: bool = Field(
        default=False,
        description="Keep the weights of the epoch with the lowest loss, whatever `min_delta`, "
        "instead of the last.",
    )
    epochs: int = Field(default=10, ge=1, le=MAX_EPOCHS)
    max_seconds: float | None = Field(
        default=None,
        gt=0,
        le=1e9,
        description="Seconds of training, in all attempts together, after which the job ends with "
        "what it has learned. The weights then depend on the speed of the machine.",
    )
    batch_size: int = Field(default=64, ge=1, le=10_000_000)
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="Random seed of the initial weights, the data order and the dropout.",
    )
    device: Device = Field(default="auto", description=f"{DEVICE_IN_WORDS}.")
    precision: Precision = Field(
        default="float32",
        description="Precision of the arithmetic; tf32 and bfloat16 are faster on devices that "
        "support them. Weights are always float32.",
    )
    compile: bool = Field(
        default=False,
        description="Compile the network with torch.compile, which takes half a minute and pays "
        "off for large networks and long runs.",
    )
    report_every: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="Steps between two reports of step metrics; the first of an epoch follows its "
        "first batch. Epochs of one batch have step reports only with 1.",
    )
    test_every: int | None = Field(
        default=None,
        ge=0,
        le=MAX_EPOCHS,
        description="Epochs between two measurements on the test rows, which are reported and "
        "decide nothing; 0 for none. By default 1 for the MNIST family, else 0.",
    )
    snapshot_every: int | None = Field(
        default=None,
        ge=1,
        le=MAX_EPOCHS,
        description="Epochs between two curves of the chart `fit`, each with its loss; only for a "
        "regression of one number. By default the tutorial's: after 0, 50, 100 and 150 epochs, or "
        "quarters of a shorter run.",
    )
    detect_anomaly: bool = Field(
        default=False,
        description="Enable autograd's anomaly detection, which is slow: the error of a diverged "
        "job names the layer and has the traceback of its forward call.",
    )


class TrainingSpec(TrainingRequest):
    """A fully resolved training run. The same spec produces the same weights, bit for bit on the
    same CPU with the same number of threads, unless `max_seconds` ends the run."""

    dataset: DatasetSpec
    name: Name = Field(description="Name of the model.")
    model: ModelSpec
    loss: LossSpec
    test_every: int = Field(
        default=0,
        ge=0,
        le=MAX_EPOCHS,
        description="Epochs between two measurements on the test rows; 0 for none.",
    )

    @classmethod
    def of(cls, document: object, uploads: Uploads = NO_UPLOADS) -> "TrainingSpec":
        """Parse and resolve a user's document.

        Raises:
            Invalid: the first error in it; `loc` is its path.
        """
        return resolve(parse(TrainingRequest, document), uploads)

    @field_validator("split")
    @classmethod
    def _split_leaves_no_part_empty(cls, split: SplitSpec, info: ValidationInfo) -> SplitSpec:
        if "dataset" in info.data:
            check_split(info.data["dataset"], split)
        return split

    @field_validator("augment")
    @classmethod
    def _changes_fit_the_images(cls, augment: list[Change], info: ValidationInfo) -> list[Change]:
        if "dataset" not in info.data:
            return augment
        inputs = info.data["dataset"].signature().inputs
        if augment and not isinstance(inputs, Images):
            raise ValueError("changes images, and this data set has rows; leave it out")
        for number, change in enumerate(augment):
            if isinstance(change, Crop) and change.crop >= (least := min(inputs.shape[-2:])):
                raise as_validation_error(
                    Invalid(
                        f"must be less than {least}, the shorter side of these images",
                        (number, "crop"),
                    )
                )
        return augment

    @field_validator("loss")
    @classmethod
    def _loss_fits_the_output(cls, loss: LossSpec, info: ValidationInfo) -> LossSpec:
        if "dataset" not in info.data:
            return loss
        signature = info.data["dataset"].signature()
        fitting = losses_for(signature)
        if loss.kind not in fitting:
            raise ValueError(f"{loss.kind} does not fit this data set; use {' or '.join(fitting)}")
        if isinstance(loss, CrossEntropySpec) and isinstance(signature.output, Classes):
            try:
                loss.check_classes(signature.output.names)
            except Invalid as error:
                raise as_validation_error(error) from None
        return loss


def resolve(request: TrainingRequest, uploads: Uploads) -> TrainingSpec:
    """Look up the data set of a request and fill in its defaults.

    Raises:
        Invalid: the data set does not exist, or does not fit the split, the model or the loss;
            `loc` is within `request`.
    """
    with located_at("dataset"):
        dataset = datasets.resolve(request.dataset, uploads, Use(divided_by=request.split.column))
    with located_at("split"):
        datasets.check_columns(dataset, request.split, uploads)
    signature = dataset.signature()
    asked = {name: getattr(request, name) for name in TrainingSpec.model_fields}
    filled_in = {
        "dataset": dataset,
        "name": request.name or _default_name(dataset),
        "model": request.model or _default_model(dataset),
        "loss": request.loss or losses_for(signature)[0],
        "test_every": _default_test_every(dataset)
        if request.test_every is None
        else request.test_every,
    }
    if isinstance(filled_in["model"], AutoSpec) and isinstance(signature.inputs, Features):
        filled_in |= _by_recipe(request, filled_in["model"], dataset, uploads)
    return parse(TrainingSpec, asked | filled_in)


def _default_name(dataset: DatasetSpec) -> str:
    return dataset.resolved.name if isinstance(dataset, UploadSpec) else dataset.kind


def _default_test_every(dataset: DatasetSpec) -> int:
    return 1 if isinstance(dataset, VisionSpec) else 0


def _default_model(dataset: DatasetSpec) -> ModelSpec:
    if dataset.signature().inputs.kind == "images":
        return TUTORIAL_MLP
    return AutoSpec() if isinstance(dataset, UploadSpec) else LinearSpec()


def _by_recipe(
    request: TrainingRequest, model: AutoSpec, dataset: DatasetSpec, uploads: Uploads
) -> dict[str, Any]:
    """Return the model, and what the request does not say about its training, as suits the data."""
    split, counts = _with_validation(request.split, dataset, uploads), dataset.row_counts()
    with located_at("split"):
        # The sizes of groups are not known.
        rows = max(training_sizes(counts, split), default=counts.rows)
    is_watched = split.validation > 0 or counts.has_validation_split
    training = recipes.training(rows, is_watched).items()
    unsaid = {name: value for name, value in training if name not in request.model_fields_set}
    return unsaid | {"split": split, "model": recipes.model(model, rows, dataset.signature())}


def _with_validation(split: SplitSpec, dataset: DatasetSpec, uploads: Uploads) -> SplitSpec:
    """Return `split` with validation rows, if it says nothing about them and the data has enough
    rows."""
    if "validation" in split.model_fields_set or split.folds is not None:
        return split
    if recipes.VALIDATION * dataset.row_counts().rows < recipes.FEWEST_VALIDATION_ROWS:
        return split
    watched = split.model_copy(update={"validation": recipes.VALIDATION})
    try:
        check_split(dataset, watched)
        datasets.check_columns(dataset, watched, uploads)
    except Invalid:
        return split
    return watched
