"""Evaluation documents, computed by `ml.evaluation.evaluate`."""

import math
from collections.abc import Collection
from typing import Annotated, Any, Literal

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


class _Baseline(Frozen):
    def metrics(self) -> dict[str, float]:
        """Return the defined metrics by baseline and name, such as `linear_accuracy`."""
        found = {name: figures for name, figures in self if isinstance(figures, Frozen)}
        return {
            f"{baseline}_{name}": figure
            for baseline, figures in found.items()
            for name, figure in figures
            if figure is not None
        }


class ClassFigures(Frozen):
    """Metrics of a simple classifier."""

    accuracy: float
    log_loss: float | None = Field(
        description="Mean negative log-likelihood of the actual class, in nats; null if it is "
        "infinite."
    )


class ClassBaseline(_Baseline):
    """Simple classifiers fitted to the training rows, evaluated on the same rows as the model."""

    majority: ClassFigures = Field(
        description="The most frequent class, with the shares of all classes as probabilities."
    )
    linear: ClassFigures | None = Field(
        description="Logistic regression on the inputs as the network sees them; null if there are "
        "too many inputs and classes to fit it quickly."
    )
    linear_rows: int | None = Field(
        description="Number of training rows that the linear model was fitted to; null without it."
    )


UNKNOWN_ROWS: Any = Field(
    default={},
    description="Rows by feature whose category no training row had, for the features with any.",
)
COMPARED = "Simple predictors, to compare with; null for models of earlier versions."


class Classification(Frozen):
    """Evaluation of a classifier. Undefined metrics are null, as for a class without rows."""

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
    unknown: dict[str, int] = UNKNOWN_ROWS
    baseline: ClassBaseline | None = Field(
        default=None,
        description=COMPARED,
        examples=[
            {
                "majority": {"accuracy": 0.1135, "log_loss": 2.301},
                "linear": {"accuracy": 0.8725, "log_loss": 0.648},
                "linear_rows": 3188,
            }
        ],
    )

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


class ValueFigures(Frozen):
    """Metrics of a regression, in the target's units; of several targets, the mean of those of
    each."""

    mse: float | None
    mae: float | None
    rmse: float | None
    r2: float | None = Field(description="R²; null if all targets are equal.")

    @classmethod
    def mean_of(cls, found: Collection["ValueFigures"]) -> "ValueFigures":
        """Return the mean of each metric, null if one of them is."""
        means: dict[str, float | None] = {}
        for name in ValueFigures.model_fields:
            values = [getattr(figures, name) for figures in found]
            means[name] = None if None in values else math.fsum(values) / len(values)
        return ValueFigures(**means)


class TargetBaseline(Frozen):
    """Metrics of simple predictors of one of several targets."""

    mean: ValueFigures = Field(description="The mean of the training targets.")
    linear: ValueFigures | None = Field(description="Ridge regression; null as for all targets.")


class ValueBaseline(_Baseline):
    """Simple predictors fitted to the training rows, evaluated on the same rows as the model."""

    mean: ValueFigures = Field(description="The mean of the training targets.")
    linear: ValueFigures | None = Field(
        description="Ridge regression on the inputs as the network sees them; null if there are "
        "too many to fit it quickly."
    )
    linear_rows: int | None = Field(
        description="Number of training rows that the linear model was fitted to; null without it."
    )


class ValuesBaseline(ValueBaseline):
    """Simple predictors of several targets, fitted to the training rows, evaluated on the same rows
    as the model. Their metrics are the means over the targets."""

    targets: dict[str, TargetBaseline] = Field(description="Metrics of each target, by name.")


class Regression(Frozen):
    """Evaluation of a regression, in the target's units. Undefined metrics are null: R² if all
    targets are equal, as those of a single row, and any metric if a prediction is not finite."""

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
    unknown: dict[str, int] = UNKNOWN_ROWS
    baseline: ValueBaseline | None = Field(
        default=None,
        description=COMPARED,
        examples=[
            {
                "mean": {"mse": 112.71, "mae": 9.105, "rmse": 10.62, "r2": -0.9054},
                "linear": {"mse": 5.866, "mae": 1.82, "rmse": 2.422, "r2": 0.9008},
                "linear_rows": 80,
            }
        ],
    )

    def figures(self) -> dict[str, float]:
        """Return the metrics in the form of `ml.evaluation.metrics.evaluate`."""
        return _value_figures(self)


class TargetScores(ValueFigures):
    """Metrics of one of several targets, in its units."""

    max_error: float | None
    residuals: Residuals


class JointRegression(Frozen):
    """Evaluation of a regression of several targets. Each of its metrics is the mean over the
    targets of that of each, which is in the target's units; undefined metrics are null."""

    kind: Literal["values"] = "values"
    split: Split
    rows: int
    loss: float | None = Field(
        description="Mean of the loss the model was trained with over rows and targets, in the "
        "units of training."
    )
    mse: float | None
    mae: float | None
    rmse: float | None
    r2: float | None
    targets: dict[str, TargetScores] = Field(description="Metrics of each target, by name.")
    unknown: dict[str, int] = UNKNOWN_ROWS
    baseline: ValuesBaseline | None = Field(default=None, description=COMPARED)

    def figures(self) -> dict[str, float]:
        """Return the metrics in the form of `ml.evaluation.metrics.evaluate`."""
        return _value_figures(self)

    def figures_by_target(self) -> dict[str, dict[str, float]]:
        """Return the defined metrics of each target, by its name."""
        return {
            target: _defined({name: getattr(scores, name) for name in ValueFigures.model_fields})
            for target, scores in self.targets.items()
        }


AnyEvaluation = Classification | Regression | JointRegression
Evaluation = Annotated[AnyEvaluation, Field(discriminator="kind")]


def _value_figures(evaluation: Regression | JointRegression) -> dict[str, float]:
    names = ("loss", *ValueFigures.model_fields)
    return _defined({name: getattr(evaluation, name) for name in names})


def _defined(figures: dict[str, float | None]) -> dict[str, float]:
    return {name: figure for name, figure in figures.items() if figure is not None}
