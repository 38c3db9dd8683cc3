"""Evaluation of a trained model: `evaluate_split` makes one pass over the rows, keeps a few numbers
per row regardless of the number of classes, and computes every metric from those."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ml.datasets import Dataset, Rows
from ml.evaluation.histogram import histogram
from ml.evaluation.metrics import batchwise, device_of, value_metrics
from ml.evaluation.schemas import (
    MAX_CONFUSED,
    AnyEvaluation,
    Bin,
    Calibration,
    Classification,
    ClassScores,
    JointRegression,
    Regression,
    Residuals,
    Scores,
    Split,
    TargetScores,
    ValueFigures,
)
from ml.losses import Loss
from ml.signature import Classes, Features, Signature, Value, Values
from ml.spelling import UNKNOWN
from ml.units import to_units

TOP = (2, 3, 5)
BINS = 15
"""Bins of a calibration."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class ClassPredictions(NamedTuple):
    """Predictions of a classifier, one number per row in each tensor."""

    actual: Tensor
    predicted: Tensor
    confidence: Tensor
    """Probability of the predicted class."""
    rank: Tensor
    """Number of classes ranked above the actual class."""
    nll: Tensor
    """Negative log-likelihood of the actual class, in nats."""


class ValuePredictions(NamedTuple):
    """Predictions of a regression `(rows, targets)`, in the targets' units."""

    actual: Tensor
    predicted: Tensor


class EvaluationResult(NamedTuple):
    """An evaluation and the predictions it is based on."""

    evaluation: AnyEvaluation
    predictions: ClassPredictions | ValuePredictions


def evaluation_split(data: Dataset) -> tuple[Split, Rows]:
    """Return the split to evaluate a model of `data` on: the test split, else the validation
    split, else the training rows."""
    if data.test is not None:
        return "test", data.test
    if data.validation is not None:
        return "validation", data.validation
    return "train", data.train


@torch.inference_mode()
def evaluate_split(
    model: nn.Module,
    rows: Rows,
    signature: Signature,
    loss: Loss,
    split: Split,
    between_batches: Callable[[], None] = lambda: None,
) -> EvaluationResult:
    """Evaluate `model` on `rows`, the rows of `split`.

    Batches are moved to the model's device one at a time. Memory is bounded by a few numbers per
    row and the outputs of one batch. `between_batches` is called before each batch; an exception
    it raises ends the evaluation.
    """
    model.eval()
    device = device_of(model, rows.inputs)

    def evaluate_batch(
        inputs: Tensor, targets: Tensor
    ) -> tuple[float, ClassPredictions | ValuePredictions]:
        between_batches()
        outputs, targets = model(inputs.to(device)).float(), targets.to(device)
        return loss(outputs, targets).item() * len(targets), _predictions(
            outputs, targets, signature
        )

    losses, columns_of_batches = zip(
        *batchwise(evaluate_batch, rows.inputs, rows.targets, device=device), strict=True
    )
    columns = [torch.cat(column).cpu() for column in zip(*columns_of_batches, strict=True)]
    mean = _finite(sum(losses) / len(rows))
    output, unknown = signature.output, _unknown(rows.inputs, signature)
    if isinstance(output, Classes):
        class_predictions = ClassPredictions(*columns)
        classification = _classification(class_predictions, output.names, split, mean, unknown)
        return EvaluationResult(classification, class_predictions)
    value_predictions = ValuePredictions(*columns)
    regression = _regression(value_predictions, output, split, mean, unknown)
    return EvaluationResult(regression, value_predictions)


def _unknown(inputs: Tensor, signature: Signature) -> dict[str, int]:
    """Return the number of rows with an unknown category, of each feature that has any."""
    features = signature.inputs
    if not isinstance(features, Features) or features.encoding is None:
        return {}
    counts = {
        name: int((inputs[:, features.names.index(name)] == UNKNOWN).sum())
        for name in features.encoding.categories
    }
    return {name: count for name, count in counts.items() if count}


def _predictions(
    outputs: Tensor, targets: Tensor, signature: Signature
) -> ClassPredictions | ValuePredictions:
    output = signature.output
    if not isinstance(output, Classes):
        return ValuePredictions(to_units(targets, output), to_units(outputs, output))
    shares = outputs.log_softmax(1)
    confidence, predicted = shares.max(1)
    right = shares.gather(1, targets[:, None])
    # Ties are ranked in the order of the classes, as in `predicted`.
    before = torch.arange(output.size, device=targets.device) < targets[:, None]
    rank = ((shares > right) | ((shares == right) & before)).sum(1)
    return ClassPredictions(targets, predicted, confidence.exp(), rank, -right.squeeze(1))


def _classification(
    class_predictions: ClassPredictions,
    names: list[str],
    split: Split,
    loss: float | None,
    unknown: dict[str, int],
) -> Classification:
    from torchmetrics.functional.classification import (
        multiclass_confusion_matrix,
        multiclass_stat_scores,
    )

    actual, predicted, size = class_predictions.actual, class_predictions.predicted, len(names)
    stats = multiclass_stat_scores(predicted, actual, size, average=None)
    hits, false_alarms, _, misses, support = stats.double().unbind(1)
    precision = hits / (hits + false_alarms)
    recall = hits / support
    f1 = 2 * hits / (2 * hits + false_alarms + misses)
    scores = torch.stack([precision, recall, f1], 1)
    occurring = (~f1.isnan()).double()
    confusion = None
    if size <= MAX_CONFUSED:
        confusion = multiclass_confusion_matrix(predicted, actual, size).tolist()
    return Classification(
        split=split,
        rows=len(actual),
        loss=loss,
        accuracy=_share(class_predictions.predicted == actual),
        top_k={k: _share(class_predictions.rank < k) for k in TOP if k < size},
        log_loss=_finite(class_predictions.nll.double().mean().item()),
        macro=_scores(_average(scores, occurring)),
        weighted=_scores(_average(scores, support)),
        classes=[
            ClassScores(name=name, support=int(count), **_scores(row).model_dump())
            for name, count, row in zip(names, support.tolist(), scores, strict=True)
        ],
        confusion=confusion,
        calibration=_calibration(class_predictions.confidence.double(), predicted == actual),
        unknown=unknown,
    )


def _average(scores: Tensor, weights: Tensor) -> Tensor:
    return (scores.nan_to_num(0.0) * weights[:, None]).sum(0) / weights.sum()


def _scores(row: Tensor) -> Scores:
    precision, recall, f1 = map(_finite, row.tolist())
    return Scores(precision=precision, recall=recall, f1=f1)


def _calibration(confidence: Tensor, right: Tensor) -> Calibration:
    # Bins include their upper edge; no confidence is below 0.
    inner_edges = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)[1:-1]
    which = torch.bucketize(confidence, inner_edges)
    counts = which.bincount(minlength=BINS).double()
    mean = which.bincount(confidence, BINS) / counts
    accuracy = which.bincount(right.double(), BINS) / counts
    gaps = (counts / len(confidence) * (mean - accuracy).abs())[counts > 0]
    return Calibration(
        error=_finite(gaps.sum().item()),
        bins=[
            Bin(count=int(n), confidence=_finite(c), accuracy=_finite(a))
            for n, c, a in zip(counts.tolist(), mean.tolist(), accuracy.tolist(), strict=True)
        ],
    )


def _regression(
    value_predictions: ValuePredictions,
    output: Value | Values,
    split: Split,
    loss: float | None,
    unknown: dict[str, int],
) -> Regression | JointRegression:
    columns = zip(*(values.unbind(1) for values in value_predictions), strict=True)
    scores = [_target_scores(actual, predicted) for actual, predicted in columns]
    rows = len(value_predictions.actual)
    if isinstance(output, Value):
        [only] = scores
        return Regression(split=split, rows=rows, loss=loss, unknown=unknown, **dict(only))
    return JointRegression(
        split=split,
        rows=rows,
        loss=loss,
        targets={one.name: found for one, found in zip(output.targets, scores, strict=True)},
        unknown=unknown,
        **dict(ValueFigures.mean_of(scores)),
    )


def _target_scores(actual: Tensor, predicted: Tensor) -> TargetScores:
    residuals = actual - predicted
    metrics = {name: metric(predicted, actual).item() for name, metric in value_metrics().items()}
    with np.errstate(invalid="ignore"):
        quantiles = np.quantile(residuals.numpy(), QUANTILES).tolist()
    return TargetScores(
        max_error=_finite(residuals.abs().max().item()),
        residuals=Residuals(
            mean=_finite(residuals.mean().item()),
            std=_finite(residuals.std(correction=0).item()),
            quantiles=dict(zip(QUANTILES, map(_finite, quantiles), strict=True)),
            histogram=histogram(residuals),
        ),
        **{name: _finite(figure) for name, figure in metrics.items()},
    )


def _share(hits: Tensor) -> float:
    return hits.double().mean().item()


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
