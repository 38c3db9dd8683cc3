"""Evaluation metrics, compared with those of scikit-learn."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torch import Tensor, nn

from ml.datasets import Rows
from ml.evaluation.evaluate import ClassPredictions, ValuePredictions, evaluate_split
from ml.evaluation.metrics import BATCH_ROWS, evaluate
from ml.evaluation.schemas import Classification, Evaluation, Regression
from ml.losses import LOSSES
from ml.signature import Classes, Features, Signature, Value


def classified(logits: Tensor, targets: Tensor) -> Classification:
    names = [f"class {i}" for i in range(logits.shape[1])]
    signature = Signature(inputs=Features(names=names), output=Classes(names=names))
    rows, loss = Rows(logits, targets), LOSSES["cross_entropy"]
    found = evaluate_split(nn.Identity(), rows, signature, loss, "test").evaluation
    assert isinstance(found, Classification)
    assert found.figures() == pytest.approx(evaluate(nn.Identity(), rows, signature, loss))
    return found


def regressed(values: Tensor, targets: Tensor) -> Regression:
    signature = Signature(inputs=Features(names=["x"]), output=Value(name="y"))
    rows, loss = Rows(values.float()[:, None], targets.float()[:, None]), LOSSES["mse"]
    found = evaluate_split(nn.Identity(), rows, signature, loss, "test").evaluation
    assert isinstance(found, Regression)
    return found


def or_none(figure: float) -> float | None:
    return None if math.isnan(figure) else pytest.approx(figure)


def check_against_sklearn(logits: Tensor, targets: Tensor) -> None:
    found, size = classified(logits, targets), logits.shape[1]
    labels, predicted = range(size), logits.argmax(1)
    assert found.rows == len(targets)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(targets, predicted))
    assert found.confusion == metrics.confusion_matrix(targets, predicted, labels=labels).tolist()
    *scores, support = metrics.precision_recall_fscore_support(
        targets, predicted, labels=labels, zero_division=np.nan
    )
    for i, score in enumerate(found.classes):
        expected = [or_none(figures[i]) for figures in scores]
        assert [score.precision, score.recall, score.f1] == expected
        assert score.support == support[i]
    for average, mean in (("macro", found.macro), ("weighted", found.weighted)):
        *expected, _ = metrics.precision_recall_fscore_support(
            targets, predicted, average=average, zero_division=0
        )
        assert [mean.precision, mean.recall, mean.f1] == pytest.approx(expected)
    shares = logits.double().softmax(1)
    assert found.log_loss == pytest.approx(
        metrics.log_loss(targets, shares / shares.sum(1, keepdim=True), labels=labels), rel=1e-4
    )
    assert found.loss == pytest.approx(found.log_loss)
    assert set(found.top_k) == {k for k in (2, 3, 5) if k < size}
    for k, share in found.top_k.items():
        expected = metrics.top_k_accuracy_score(targets, logits, k=k, labels=labels)
        assert share == pytest.approx(expected)


def test_classification_metrics_match_scikit_learn() -> None:
    random = torch.Generator().manual_seed(0)
    # More than one batch, so that results are concatenated.
    targets = torch.randint(0, 7, (BATCH_ROWS + 500,), generator=random)
    logits = torch.randn(len(targets), 7, generator=random)
    logits[torch.arange(len(targets)), targets] += 1.5
    check_against_sklearn(logits, targets)


@settings(deadline=None, max_examples=40)
@given(
    size=st.integers(3, 8),
    targets=st.lists(st.integers(0, 7), min_size=2, max_size=12),
    seed=st.integers(0, 1000),
)
def test_absent_classes_match_scikit_learn(size: int, targets: list[int], seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(targets), size, generator=random)
    check_against_sklearn(logits, torch.tensor(targets) % size)


def test_undefined_metrics_are_null() -> None:
    # Class 1 neither occurs nor is predicted; class 2 occurs but is never predicted.
    found = classified(torch.tensor([[5.0, 0, 0], [5.0, 0, 0]]), torch.tensor([0, 2]))
    zero, one, two = found.classes
    assert (zero.precision, zero.recall) == (0.5, 1.0)
    assert (one.support, one.precision, one.recall, one.f1) == (0, None, None, None)
    assert (two.support, two.precision, two.recall, two.f1) == (1, None, 0.0, 0.0)
    assert found.macro.precision == 0.25


def test_ties_are_ranked_by_class_order() -> None:
    found = classified(torch.zeros(4, 4), torch.tensor([0, 1, 2, 3]))
    assert found.accuracy == 0.25
    assert found.top_k == {2: 0.5, 3: 0.75}


def test_calibration_matches_torchmetrics() -> None:
    from torchmetrics.functional.classification import multiclass_calibration_error

    random = torch.Generator().manual_seed(1)
    targets = torch.randint(0, 5, (800,), generator=random)
    logits = torch.randn(800, 5, generator=random) * 2
    found = classified(logits, targets).calibration
    expected = multiclass_calibration_error(logits.softmax(1), targets, 5, n_bins=15)
    assert found.error == pytest.approx(expected.item(), abs=1e-6)
    assert sum(b.count for b in found.bins) == 800
    for i, b in enumerate(found.bins):
        assert (b.confidence is None) == (b.accuracy is None) == (b.count == 0)
        assert b.confidence is None or i / 15 <= b.confidence <= (i + 1) / 15


def test_confusion_matrix_is_limited() -> None:
    assert classified(torch.eye(1001)[:3], torch.tensor([0, 1, 2])).confusion is None


def test_r2_is_independent_of_units() -> None:
    targets = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    values = torch.tensor([1.5, 2.0, 3.0, 3.0], dtype=torch.float64)
    for unit in (1e-6, 1.0, 1e6):
        assert regressed(values * unit, targets * unit).r2 == pytest.approx(0.75)


@settings(deadline=None, max_examples=60)
@given(pairs=st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 2), min_size=2, max_size=30))
def test_regression_metrics_match_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    values, targets = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    found = regressed(values, targets)
    expected = {
        "mse": metrics.mean_squared_error(targets, values),
        "mae": metrics.mean_absolute_error(targets, values),
        "rmse": metrics.root_mean_squared_error(targets, values),
        "max_error": metrics.max_error(targets, values),
    }
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected)
    if len(set(targets.tolist())) == 1:
        assert found.r2 is None
    else:
        r2 = metrics.r2_score(targets, values)
        assert found.r2 == pytest.approx(r2, rel=1e-3, abs=1e-3)
    residuals = (targets - values).numpy()
    assert found.residuals.mean == pytest.approx(residuals.mean())
    assert found.residuals.std == pytest.approx(residuals.std())
    assert found.residuals.quantiles[0.5] == pytest.approx(np.median(residuals))
    histogram = found.residuals.histogram
    assert histogram is not None
    assert sum(histogram.counts) == len(pairs)
    assert histogram.edges == sorted(histogram.edges)


@pytest.mark.parametrize("targets", [[2.0], [2.0, 2.0, 2.0]])
def test_r2_is_undefined_without_variance(targets: list[float]) -> None:
    found = regressed(torch.arange(len(targets)), torch.tensor(targets))
    assert found.r2 is None
    assert "r2" not in found.figures()
    assert found.mse is not None


def test_non_finite_predictions_give_null_metrics() -> None:
    bad = torch.tensor([1.0, math.inf, math.nan])
    found = regressed(bad, torch.tensor([1.0, 2.0, 3.0]))
    assert (found.loss, found.mse, found.r2, found.residuals.histogram) == (None,) * 4
    assert found.figures() == {}
    choices = classified_from_nan()
    assert choices.log_loss is None
    for evaluation in (found, choices):
        assert "NaN" not in evaluation.model_dump_json()


def classified_from_nan() -> Classification:
    names = ["a", "b", "c"]
    signature = Signature(inputs=Features(names=names), output=Classes(names=names))
    rows = Rows(torch.full((2, 3), math.nan), torch.tensor([0, 1]))
    found = evaluate_split(
        nn.Identity(), rows, signature, LOSSES["cross_entropy"], "test"
    ).evaluation
    assert isinstance(found, Classification)
    return found


def test_evaluation_round_trips() -> None:
    from pydantic import TypeAdapter

    adapter: TypeAdapter[Any] = TypeAdapter(Evaluation)
    found = (
        classified(torch.eye(4), torch.tensor([0, 1, 2, 2])),
        regressed(torch.arange(5), torch.arange(5) * 2),
    )
    for evaluation in found:
        assert adapter.validate_json(evaluation.model_dump_json()) == evaluation


def test_callback_between_batches_can_stop_the_evaluation() -> None:
    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    signature = Signature(inputs=Features(names=["x"]), output=Value(name="y"))
    rows = Rows(torch.zeros(3, 1), torch.zeros(3, 1))
    with pytest.raises(Stopped):
        evaluate_split(nn.Identity(), rows, signature, LOSSES["mse"], "test", stop)


def test_predictions_keep_few_numbers_per_row() -> None:
    signature = Signature(inputs=Features(names=["x"]), output=Value(name="y"))
    rows = Rows(torch.ones(3, 1), torch.zeros(3, 1))
    answers = evaluate_split(nn.Identity(), rows, signature, LOSSES["mse"], "all").predictions
    assert isinstance(answers, ValuePredictions)
    assert answers.predicted.tolist() == [[1.0]] * 3
    names = ["a", "b"]
    signature = Signature(inputs=Features(names=names), output=Classes(names=names))
    rows = Rows(torch.eye(2), torch.tensor([0, 0]))
    choices = evaluate_split(
        nn.Identity(), rows, signature, LOSSES["cross_entropy"], "all"
    ).predictions
    assert isinstance(choices, ClassPredictions)
    assert [column.shape for column in choices] == [(2,)] * 5
