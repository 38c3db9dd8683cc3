"""Evaluation documents, computed by `ml.evaluation.evaluate`."""

from typing import Annotated, Literal

from pydantic import Field

from ml.strict import Frozen

Split = Literal["test", "validation", "train", "all"]

MAX_CONFUSED = 1000
"""Maximum number of classes of a confusion matrix."""


class Scores(Frozen):
    """Precision, recall and F1 score."""

    precision: float | None = Field(
        description="Share of correct ones among the predictions of this class; null if none."
    )
    recall: float | None = Field(
        description="Share of this class's rows that were predicted correctly; null if it has none."
    )
    f1: float | None = Field(
        description="Harmonic mean of precision and recall; null if the class has neither rows nor "
        "predictions."
    )


class ClassScores(Scores):
    """Scores of one class."""

    name: str
    support: int = Field(description="Number of rows of this class.")


class Bin(Frozen):
    """Rows whose confidence falls into one bin."""

    count: int
    confidence: float | None = Field(
        description="Mean probability of the predicted classes; null if empty."
    )
    accuracy: float | None = Field(description="Share of correct predictions; null if empty.")


class Calibration(Frozen):
    """Agreement of confidence and accuracy."""

    error: float | None = Field(
        description="Expected calibration error: mean difference of confidence and accuracy."
    )
    bins: list[Bin] = Field(description="Bins of equal width over the probabilities from 0 to 1.")


class Classification(Frozen):
    """Evaluation of a classifier. Undefined metrics are null."""

    kind: Literal["classes"] = "classes"
    split: Split
    rows: int
    loss: float | None = Field(description="Mean of the loss the model was trained with.")
    accuracy: float
    top_k: dict[int, float] = Field(
        description="Share of rows whose class is among the k most probable."
    )
    log_loss: float | None = Field(
        description="Mean negative log-likelihood of the actual class, in nats."
    )
    macro: Scores = Field(
        description="Mean over the classes that occur among rows or predictions; null scores count "
        "as 0."
    )
    weighted: Scores = Field(description="Mean over the classes, weighted by support.")
    classes: list[ClassScores]
    confusion: list[list[int]] | None = Field(
        description="Confusion matrix: one list per actual class, one entry per predicted class; "
        f"null for more than {MAX_CONFUSED:,} classes."
    )
    calibration: Calibration

    def figures(self) -> dict[str, float]:
        """Return the metrics in the form of `ml.evaluation.metrics.evaluate`."""
        return _defined({"loss": self.loss, "accuracy": self.accuracy})


class Histogram(Frozen):
    """Counts of values between consecutive edges."""

    edges: list[float]
    counts: list[int]


class Residuals(Frozen):
    """Residuals: target minus prediction, in the target's units."""

    mean: float | None
    std: float | None
    quantiles: dict[float, float | None]
    histogram: Histogram | None = Field(
        description="Histogram of the residuals; null if a prediction is not finite."
    )


class Regression(Frozen):
    """Evaluation of a regression, in the target's units. Undefined metrics are null: R² if all
    targets are equal, and any metric if a prediction is not finite."""

    kind: Literal["value"] = "value"
    split: Split
    rows: int
    loss: float | None = Field(
        description="Mean of the loss the model was trained with, in the units of training."
    )
    mse: float | None
    mae: float | None
    rmse: float | None
    r2: float | None
    max_error: float | None
    residuals: Residuals

    def figures(self) -> dict[str, float]:
        """Return the metrics in the form of `ml.evaluation.metrics.evaluate`."""
        return _defined(
            {name: getattr(self, name) for name in ("loss", "mse", "mae", "rmse", "r2")}
        )


Evaluation = Annotated[Classification | Regression, Field(discriminator="kind")]


def _defined(figures: dict[str, float | None]) -> dict[str, float]:
    return {name: figure for name, figure in figures.items() if figure is not None}
