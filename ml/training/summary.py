"""Summary of a run, stored beside its model: the evaluation, the baselines, and a bounded sample of
rows and predictions for charts. It is deterministic."""

import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import BaseModel, TypeAdapter
from torch import Tensor

from ml.datasets import Rows
from ml.evaluation.baseline import BASELINE, Baseline, evaluate_baseline, fit_baseline
from ml.evaluation.evaluate import (
    ClassPredictions,
    EvaluationResult,
    ValuePredictions,
    evaluate_split,
    evaluation_split,
)
from ml.evaluation.schemas import AnyEvaluation, Evaluation, JointRegression
from ml.images.encode import png_base64
from ml.integrity import holds, read_document
from ml.signature import Classes, Images, Signature, Value, Values
from ml.strict import Frozen
from ml.training.feature_sample import (
    MAX_DRAWN,
    FeatureSample,
    Number,
    finite,
    numbers,
    sample_features,
    spaced,
)
from ml.training.run import Run
from ml.units import to_units

EVALUATION = "evaluation.json"
SAMPLE = "sample.json"

MAX_EVALUATED = 100_000
"""Maximum number of training rows to evaluate on where there is no other split."""
MAX_PAIRS = 2000
"""Maximum number of pairs of a value predicted and the actual one, of all targets together."""
MAX_MISTAKES = 25
LONGEST_EDGE = 96
"""Longest edge of a stored image, in pixels; smaller images are enlarged to keep them sharp."""


class Pairs(Frozen):
    """Predicted and actual values of a target in some of the evaluated rows, in its units."""

    predicted: list[Number]
    actual: list[float]


class Mistake(Frozen):
    """A misclassified image."""

    png: str
    """PNG file in Base64."""
    actual: str
    predicted: str
    probability: Number


class Curve(Frozen):
    """Predictions of a regression of one feature after `epoch` epochs."""

    epoch: int
    values: list[Number]
    loss: Number = None
    """Loss of the training rows; models of earlier versions have none."""


class Fit(Frozen):
    """Curves of a regression of one feature over the course of training."""

    grid: list[float]
    curves: list[Curve]


class Sample(Frozen):
    """Data for charts; null where a chart does not apply to the run."""

    features: FeatureSample | None
    pairs: Pairs | dict[str, Pairs] | None
    """Of several targets, those of the first ones, by name."""
    mistakes: list[Mistake] | None
    fit: Fit | None


_EVALUATION: TypeAdapter[AnyEvaluation] = TypeAdapter(Evaluation)


@dataclass(frozen=True)
class TrainingSummary:
    """Evaluation and sample of one run."""

    evaluation: AnyEvaluation
    sample: Sample
    baseline: Baseline | None = None
    """The fitted baselines; `load` leaves them out."""

    def metrics(self) -> dict[str, float]:
        """Return the metrics of the test rows, such as `test_rmse`, and those of the baselines on
        them, such as `baseline_linear_rmse`; none without test rows."""
        evaluation = self.evaluation
        if evaluation.split != "test":
            return {}
        metrics = {f"test_{name}": figure for name, figure in evaluation.figures().items()}
        compared = {} if evaluation.baseline is None else evaluation.baseline.metrics()
        return metrics | {f"baseline_{name}": figure for name, figure in compared.items()}

    def metrics_by_target(self) -> dict[str, dict[str, float]] | None:
        """Return the metrics of each of several targets on the test rows, by its name; None of a
        single target, and without test rows."""
        evaluation = self.evaluation
        if isinstance(evaluation, JointRegression) and evaluation.split == "test":
            return evaluation.figures_by_target()
        return None

    def files(self) -> dict[str, bytes]:
        """Return the summary as files by name, for `ml.artifacts.save_model`."""
        documents: dict[str, BaseModel] = {EVALUATION: self.evaluation, SAMPLE: self.sample}
        files = {name: value.model_dump_json().encode() for name, value in documents.items()}
        return files if self.baseline is None else files | {BASELINE: self.baseline.file()}

    @classmethod
    def load(cls, directory: Path) -> "TrainingSummary":
        """Load the summary stored beside the model in `directory`.

        Raises:
            FileNotFoundError: the model was saved by an earlier version, without a summary.
            Damaged: a file is missing, or is not as it was written.
        """
        if not holds(directory, EVALUATION):
            raise FileNotFoundError(directory / EVALUATION)
        return cls(
            evaluation=read_document(directory, EVALUATION, _EVALUATION),
            sample=read_document(directory, SAMPLE, Sample),
        )


def summarize(run: Run) -> TrainingSummary:
    """Evaluate a run's current model and return the run's summary."""
    split, rows = evaluation_split(run.data)
    if split == "train":
        rows = _sample_rows(rows, MAX_EVALUATED)
    signature, preprocessing = run.signature, run.data.preprocessing
    result = evaluate_split(run.model, rows, signature, run.spec.loss.measure, split)
    baseline = fit_baseline(run.data.train, preprocessing, signature)
    compared = evaluate_baseline(baseline, preprocessing, rows, signature)
    sample = Sample(
        features=sample_features(run.data.train, signature),
        pairs=_pairs(result, signature),
        mistakes=_mistakes(result, rows, signature),
        fit=_fit(run),
    )
    evaluation = result.evaluation.model_copy(update={"baseline": compared})
    return TrainingSummary(evaluation, sample, baseline)


def _sample_rows(rows: Rows, most: int) -> Rows:
    return rows if len(rows) <= most else rows.at(spaced(len(rows), most))


def _pairs(result: EvaluationResult, signature: Signature) -> Pairs | dict[str, Pairs] | None:
    value_predictions, output = result.predictions, signature.output
    if not isinstance(value_predictions, ValuePredictions) or isinstance(output, Classes):
        return None
    targets = output.targets[:MAX_DRAWN]
    most = MAX_PAIRS // len(targets)
    columns = zip(*(values.unbind(1) for values in value_predictions), strict=True)
    pairs = [_pairs_of(actual, predicted, most) for actual, predicted in islice(columns, MAX_DRAWN)]
    if not isinstance(output, Values):
        return pairs[0]
    return {target.name: pair for target, pair in zip(targets, pairs, strict=True)}


def _pairs_of(actual: Tensor, predicted: Tensor, most: int) -> Pairs:
    """Return up to `most` pairs of values `(rows,)`."""
    # A target may be infinitely far from those of the training rows.
    known = actual.isfinite().nonzero().squeeze(1)
    indices = known[spaced(len(known), most)]
    return Pairs(predicted=numbers(predicted[indices]), actual=actual[indices].tolist())


def _mistakes(result: EvaluationResult, rows: Rows, signature: Signature) -> list[Mistake] | None:
    class_predictions, output = result.predictions, signature.output
    if not (
        isinstance(class_predictions, ClassPredictions)
        and isinstance(output, Classes)
        and isinstance(signature.inputs, Images)
    ):
        return None
    wrong = (class_predictions.predicted != class_predictions.actual).nonzero().squeeze(1)
    most_confident = class_predictions.confidence[wrong].sort(descending=True, stable=True).indices
    return [
        Mistake(
            png=png(rows.inputs[row]),
            actual=output.names[int(class_predictions.actual[row])],
            predicted=output.names[int(class_predictions.predicted[row])],
            probability=finite(class_predictions.confidence[row].item()),
        )
        for row in wrong[most_confident][:MAX_MISTAKES].tolist()
    ]


def png(image: Tensor) -> str:
    """Encode an image `(height, width)` or `(channels, height, width)`, with pixels from 0 to 255,
    as a Base64 PNG file."""
    pixels = image.cpu().clamp(0, 255).byte()
    if pixels.dim() == 3:
        pixels = pixels.permute(1, 2, 0).squeeze(2)  # PIL expects no axis for a single channel
    picture = Image.fromarray(pixels.numpy())
    if (times := LONGEST_EDGE // max(picture.size)) > 1:
        picture = picture.resize(
            (picture.width * times, picture.height * times), Image.Resampling.NEAREST
        )
    picture.thumbnail((LONGEST_EDGE, LONGEST_EDGE))
    small = np.asarray(picture)
    return png_base64(small if small.ndim == 2 else np.moveaxis(small, -1, 0))


def _fit(run: Run) -> Fit | None:
    fit_curves, output = run.fit_curves, run.signature.output
    if fit_curves.grid is None or not isinstance(output, Value):
        return None
    fit_curves.add(run.model, run.kept_epoch)
    return Fit(
        grid=fit_curves.grid.squeeze(1).tolist(),
        curves=[
            Curve(
                epoch=epoch,
                values=numbers(to_units(values.cpu(), output).squeeze(1)),
                loss=finite(fit_curves.losses.get(epoch, math.nan)),
            )
            for epoch, values in sorted(fit_curves.curves.items())
        ],
    )
