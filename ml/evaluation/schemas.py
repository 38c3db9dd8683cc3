"""What is said of how good a model is: documents, made by `ml.evaluation.evaluate`."""

from typing import Annotated, Literal

from pydantic import Field

from ml.strict import Frozen

Split = Literal["test", "validation", "train", "all"]

MAX_CONFUSED = 1000
"""Classes, beyond which there is no confusion matrix."""


class Scores(Frozen):
    """How classes are told apart."""

    precision: float | None = Field(
        description="Of the rows taken for it, the share that are; null where none was."
    )
    recall: float | None = Field(
        description="Of its rows, the share that were found; null where there are none."
    )
    f1: float | None = Field(
        description="The harmonic mean of both; null where it has no rows and none was taken for "
        "it."
    )


class ClassScores(Scores):
    """How one class is told from the others."""

    name: str
    support: int = Field(description="Its rows.")


class Bin(Frozen):
    """The rows whose answer was about so sure."""

    count: int
    confidence: float | None = Field(description="Mean probability of the answers; null if none.")
    accuracy: float | None = Field(description="The share that was right; null if none.")


class Calibration(Frozen):
    """Whether answers are right as often as their probability says."""

    error: float | None = Field(
        description="Expected calibration error: the mean difference of confidence and accuracy."
    )
    bins: list[Bin] = Field(description="Of equal width, for probabilities from 0 to 1.")


class Classification(Frozen):
    """How good a model is that tells classes apart. A figure without meaning is null."""

    kind: Literal["classes"] = "classes"
    split: Split
    rows: int
    loss: float | None = Field(description="Of the kind that the model was trained with.")
    accuracy: float
    top_k: dict[int, float] = Field(
        description="The share of rows whose class is among the k likeliest."
    )
    log_loss: float | None = Field(description="Mean surprise at the right class, in nats.")
    macro: Scores = Field(
        description="The mean over the classes that occur among rows or answers; what is null for "
        "one counts as 0."
    )
    weighted: Scores = Field(description="The same, each class weighing as much as it has rows.")
    classes: list[ClassScores]
    confusion: list[list[int]] | None = Field(
        description="Rows by class (one list each) and answer (its entries); null for more than "
        f"{MAX_CONFUSED:,} classes."
    )
    calibration: Calibration

    def figures(self) -> dict[str, float]:
        """Return what `ml.evaluation.metrics.evaluate` does."""
        return _defined({"loss": self.loss, "accuracy": self.accuracy})


class Histogram(Frozen):
    """How often values fall between one edge and the next."""

    edges: list[float]
    counts: list[int]


class Residuals(Frozen):
    """What is left: the target minus the answer, in the target's units."""

    mean: float | None
    std: float | None
    quantiles: dict[float, float | None]
    histogram: Histogram | None = Field(description="Null if an answer is not finite.")


class Regression(Frozen):
    """How good a model is that answers with a value, in the units of the target. A figure without
    meaning is null: R² where all targets are the same, or any where an answer is not finite."""

    kind: Literal["value"] = "value"
    split: Split
    rows: int
    loss: float | None = Field(
        description="Of the kind that the model was trained with, and in the units of the training."
    )
    mse: float | None
    mae: float | None
    rmse: float | None
    r2: float | None
    max_error: float | None
    residuals: Residuals

    def figures(self) -> dict[str, float]:
        """Return what `ml.evaluation.metrics.evaluate` does."""
        return _defined(
            {name: getattr(self, name) for name in ("loss", "mse", "mae", "rmse", "r2")}
        )


Evaluation = Annotated[Classification | Regression, Field(discriminator="kind")]


def _defined(figures: dict[str, float | None]) -> dict[str, float]:
    return {name: figure for name, figure in figures.items() if figure is not None}
