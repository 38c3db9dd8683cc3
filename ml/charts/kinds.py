"""The charts of a job, each a Vega-Lite specification.

To add a chart, write a function from `ChartData` to a picture and add it to `CHARTS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ml.charts import classes, features, history, values
from ml.charts.chart_data import ChartData, Point
from ml.charts.theme import CONFIG, Picture, drawable
from ml.evaluation.schemas import MAX_CONFUSED
from ml.signature import Classes, Features, Images, Signature
from ml.training.fit_curves import has_curve

__all__ = ["CHARTS", "Chart", "ChartData", "Point", "charts_of"]


@dataclass(frozen=True)
class ChartRequirements:
    """Condition under which a chart can be drawn."""

    when: str
    """The condition in words, completing "it can be drawn ..."."""
    are_met: Callable[[ChartData], bool]


@dataclass(frozen=True)
class Chart:
    """A kind of chart."""

    title: str
    description: str
    applies_to: Callable[[Signature], bool]
    """Whether jobs with this signature have the chart."""
    needs: ChartRequirements
    draw: Callable[[ChartData], Picture]

    def specification(self, chart_data: ChartData) -> dict[str, Any]:
        """Return the Vega-Lite specification, with inline data."""
        specification: dict[str, Any] = drawable(self.draw(chart_data).to_dict(validate=False))
        return specification | {"config": CONFIG | specification.get("config", {})}


def charts_of(signature: Signature) -> dict[str, Chart]:
    """Return the charts of a job with this signature, by name."""
    return {name: chart for name, chart in CHARTS.items() if chart.applies_to(signature)}


def _any(signature: Signature) -> bool:
    return True


def _answers_values(signature: Signature) -> bool:
    return not isinstance(signature.output, Classes)


def _answers_classes(signature: Signature) -> bool:
    return isinstance(signature.output, Classes)


def _answers_a_few_classes(signature: Signature) -> bool:
    return isinstance(signature.output, Classes) and signature.output.size <= MAX_CONFUSED


def _takes_features(signature: Signature) -> bool:
    return isinstance(signature.inputs, Features)


def _tells_images_apart(signature: Signature) -> bool:
    return isinstance(signature.inputs, Images) and _answers_classes(signature)


LOSS = ChartRequirements("once its first loss is reported", history.has_loss)
EPOCH = ChartRequirements("once its first epoch is done", lambda m: bool(m.series("lr")))
ACCURACY = ChartRequirements(
    "at its end; with a validation split or test_every, once the first epoch is measured",
    lambda m: m.summary is not None or bool(m.series(*history.ACCURACIES)),
)
END = ChartRequirements("once it has succeeded", lambda m: m.summary is not None)
FEATURES = ChartRequirements(
    "once it has succeeded", lambda m: m.summary is not None and m.sample.features is not None
)
FIT = ChartRequirements(
    "once it has succeeded", lambda m: m.summary is not None and m.sample.fit is not None
)

CHARTS: Mapping[str, Chart] = {
    "features": Chart(
        "Each feature against the target",
        "A sample of the training rows, with a panel for each feature.",
        _takes_features,
        FEATURES,
        features.features,
    ),
    "loss": Chart(
        "Loss by epoch",
        "Loss of the training rows and, if they are measured, of validation and test rows.",
        _any,
        LOSS,
        history.loss,
    ),
    "accuracy": Chart(
        "Accuracy by epoch",
        "Accuracy on the validation split and, by test_every or at the end, on the test split.",
        _answers_classes,
        ACCURACY,
        history.accuracy,
    ),
    "learning_rate": Chart(
        "Learning rate by epoch",
        "Learning rate at the last step of each epoch.",
        _any,
        EPOCH,
        history.learning_rate,
    ),
    "predictions": Chart(
        "Predicted against actual",
        "A sample of the test rows, and the diagonal of equal values.",
        _answers_values,
        END,
        values.predictions,
    ),
    "residuals": Chart(
        "Residuals",
        "Histogram of the residuals (actual minus predicted) on the test rows.",
        _answers_values,
        END,
        values.residuals,
    ),
    "fit": Chart(
        "The fit as it was learned",
        "Curve of a regression with one numeric feature after several epochs, below the data.",
        has_curve,
        FIT,
        values.fit,
    ),
    "confusion": Chart(
        "Confusion matrix",
        "Number of test rows by actual and predicted class.",
        _answers_a_few_classes,
        END,
        classes.confusion,
    ),
    "calibration": Chart(
        "Calibration",
        "Accuracy of the predictions by their probability.",
        _answers_classes,
        END,
        classes.calibration,
    ),
    "misclassified": Chart(
        "Misclassified images",
        "Misclassified test images, the most confident mistakes first.",
        _tells_images_apart,
        END,
        classes.misclassified,
    ),
}
