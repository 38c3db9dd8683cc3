"""Baselines have the figures of NumPy's least squares and of scikit-learn's regressions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, r2_score
from torch import nn

from ml import datasets
from ml.datasets import Rows
from ml.errors import Damaged
from ml.evaluation.baseline import (
    BASELINE,
    Baseline,
    evaluate_baseline,
    fit_baseline,
)
from ml.evaluation.schemas import ClassBaseline, ValueBaseline
from ml.images.decode import PictureForm
from ml.models.linear_fits import FEWEST_ROWS, MAX_LOGISTIC_PRODUCTS, logistic, ridge
from ml.signature import Classes, Features, Images, Signature, Value
from ml.specs import TrainingSpec
from ml.training.initial_model import build
from ml.training.run import Run
from ml.training.summary import TrainingSummary, summarize
from tests.conftest import LINE
from tests.ml.shelf import CPU, Shelf


def test_ridge_of_well_determined_rows_is_least_squares() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 3)) * [1, 1e-3, 1e6] + [0, 5, -1e6]
    y = x @ [2.0, 3e3, -1.5e-6] + 7 + 0.01 * random.normal(size=200)
    found = ridge(torch.from_numpy(x), torch.from_numpy(y[:, None]))
    expected, *_ = np.linalg.lstsq(np.c_[x, np.ones(200)], y, rcond=None)
    assert found(torch.from_numpy(x))[:, 0].numpy() == pytest.approx(
        x @ expected[:3] + expected[3], abs=1e-3
    )
    assert found.weights[:, 0].tolist() == pytest.approx(expected[:3].tolist(), rel=1e-3)


@pytest.mark.parametrize("rows", [1, 2, 30])
def test_ridge_of_too_few_or_collinear_rows_is_finite(rows: int) -> None:
    random = torch.Generator().manual_seed(0)
    column = torch.randn(rows, 1, generator=random, dtype=torch.float64)
    # Two equal columns, a constant one, and more columns than rows.
    noise = torch.randn(rows, 40, generator=random, dtype=torch.float64)
    inputs = torch.cat([column, column, torch.full_like(column, 1e30), noise], 1)
    found = ridge(inputs, column * 2 + 1)
    assert found.is_finite()
    assert found.weights[2] == 0
    torch.testing.assert_close(found.weights[0], found.weights[1])


def test_ridge_of_several_targets_is_that_of_each() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 5, generator=generator, dtype=torch.float64)
    targets = torch.randn(60, 3, generator=generator, dtype=torch.float64)
    targets[:, 1] += 100 * inputs[:, 0]
    found = ridge(inputs, targets)
    for index, target in enumerate(targets.split(1, 1)):
        alone = ridge(inputs, target)
        assert found.weights[:, index : index + 1].equal(alone.weights)
        assert found.bias[index : index + 1].tolist() == pytest.approx(alone.bias.tolist())


def test_many_columns_of_noise_are_penalised() -> None:
    random = np.random.default_rng(1)
    x, y = random.normal(size=(120, 100)), random.normal(size=120)
    found = ridge(torch.from_numpy(x[:60]), torch.from_numpy(y[:60, None]))
    predicted = found(torch.from_numpy(x[60:]))[:, 0].numpy()
    exact, *_ = np.linalg.lstsq(x[:60], y[:60], rcond=None)
    assert r2_score(y[60:], predicted) > -0.2 > r2_score(y[60:], x[60:] @ exact)


def test_logistic_regression_matches_scikit_learn() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 4)).astype(np.float32)
    scores = x @ random.normal(size=(4, 3)) + [1, 0, -1]
    y = (scores + random.gumbel(size=scores.shape)).argmax(1)
    found = logistic(torch.from_numpy(x), torch.from_numpy(y), 3)
    expected = LogisticRegression(C=1.0, tol=1e-8).fit(x, y)
    shares = found(torch.from_numpy(x)).softmax(1).numpy()
    assert shares == pytest.approx(expected.predict_proba(x), abs=2e-3)


def test_separable_classes_have_finite_weights() -> None:
    x = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]])
    found = logistic(x, torch.tensor([0, 0, 1, 1]), 3)
    assert found.is_finite()
    assert found(x).argmax(1).tolist() == [0, 0, 1, 1]


def test_figures_of_a_regression() -> None:
    x = torch.arange(8.0)[:, None]
    y = torch.tensor([[1.0], [2.0], [2.0], [5.0], [4.0], [6.0], [9.0], [8.0]])
    train, test = Rows(x[:5], y[:5]), Rows(x[5:], y[5:])
    # The network's outputs are 10 + 2 * y.
    output = Value(name="y", offset=10.0, scale=2.0)
    signature = Signature(inputs=Features(names=["x"]), output=output)
    baseline = fit_baseline(train, nn.Identity(), signature)
    found = evaluate_baseline(baseline, nn.Identity(), test, signature)
    assert isinstance(found, ValueBaseline)
    actual = 10 + 2 * y[5:, 0].numpy()
    mean = np.full(3, 10 + 2 * y[:5].mean().item())
    assert found.mean.mae == pytest.approx(mean_absolute_error(actual, mean))
    assert found.mean.r2 == pytest.approx(r2_score(actual, mean))
    linear = baseline.linear
    assert linear is not None
    predicted = 10 + 2 * linear(x[5:])[:, 0].numpy()
    assert found.linear is not None
    assert found.linear.mae == pytest.approx(mean_absolute_error(actual, predicted))
    assert found.linear.rmse == pytest.approx(np.sqrt(np.mean((actual - predicted) ** 2)))
    assert found.linear_rows == 5
    assert set(found.metrics()) == {
        f"{kind}_{name}" for kind in ("mean", "linear") for name in ("mse", "mae", "rmse", "r2")
    }
    one = evaluate_baseline(baseline, nn.Identity(), Rows(x[:1], y[:1]), signature)
    assert isinstance(one, ValueBaseline)
    assert one.mean.r2 is None


def test_figures_of_a_classification() -> None:
    random = np.random.default_rng(0)
    x = torch.from_numpy(random.normal(size=(90, 2)).astype(np.float32))
    y = torch.from_numpy((x[:, 0].numpy() > 0.3).astype(np.int64))
    signature = Signature(inputs=Features(names=["a", "b"]), output=Classes(names=["n", "y"]))
    train, test = Rows(x[:60], y[:60]), Rows(x[60:], y[60:])
    baseline = fit_baseline(train, nn.Identity(), signature)
    found = evaluate_baseline(baseline, nn.Identity(), test, signature)
    assert isinstance(found, ClassBaseline)
    shares = np.bincount(y[:60], minlength=2) / 60
    assert found.majority.accuracy == pytest.approx((y[60:] == shares.argmax()).float().mean())
    assert found.majority.log_loss == pytest.approx(
        log_loss(y[60:], np.tile(shares, (30, 1)), labels=[0, 1])
    )
    # Of two classes, scikit-learn penalises one vector of weights, which is twice ours.
    expected = LogisticRegression(C=2.0).fit(x[:60], y[:60])
    assert found.linear is not None
    assert found.linear.accuracy == accuracy_score(y[60:], expected.predict(x[60:]))
    assert found.linear.log_loss == pytest.approx(
        log_loss(y[60:], expected.predict_proba(x[60:])), rel=1e-2
    )


def test_class_without_training_rows_has_no_log_loss() -> None:
    signature = Signature(inputs=Features(names=["a"]), output=Classes(names=["x", "y", "z"]))
    train = Rows(torch.tensor([[0.0], [1.0], [1.0]]), torch.tensor([0, 1, 1]))
    baseline = fit_baseline(train, nn.Identity(), signature)
    test = Rows(torch.tensor([[0.5]]), torch.tensor([2]))
    found = evaluate_baseline(baseline, nn.Identity(), test, signature)
    assert isinstance(found, ClassBaseline)
    assert (found.majority.accuracy, found.majority.log_loss) == (0.0, None)


def test_too_wide_inputs_have_no_linear_model() -> None:
    side = 100
    form = PictureForm(height=side, width=side, channels=1)
    signature = Signature(
        inputs=Images(form=form), output=Classes(names=[str(i) for i in range(9)])
    )
    assert MAX_LOGISTIC_PRODUCTS // (side * side * 9) < FEWEST_ROWS
    # Expanded, so that the images take no memory.
    images = torch.zeros(1, 1, 1, dtype=torch.uint8).expand(FEWEST_ROWS, side, side)
    train = Rows(images, torch.arange(FEWEST_ROWS) % 9)
    baseline = fit_baseline(train, nn.Identity(), signature)
    assert baseline.linear is None
    found = evaluate_baseline(baseline, nn.Identity(), train, signature)
    assert (found.linear, found.linear_rows) == (None, None)


def test_summary_keeps_the_baselines_of_a_run(tmp_path: Path) -> None:
    spec = TrainingSpec.of(LINE | {"epochs": 1})
    data = datasets.load(spec.dataset, spec.split, tmp_path)
    summary = summarize(Run(build(spec, data), data, spec, CPU))
    for name, content in summary.files().items():
        (tmp_path / name).write_bytes(content)
    assert TrainingSummary.load(tmp_path).evaluation == summary.evaluation
    kept = summary.evaluation.baseline
    assert isinstance(kept, ValueBaseline)
    assert data.test is not None
    x, y = (t.double().numpy() for t in (data.train.inputs, data.train.targets))
    slope, bias = np.polyfit(x[:, 0], y[:, 0], 1)
    errors = data.test.targets[:, 0].numpy() - (slope * data.test.inputs[:, 0].numpy() + bias)
    assert kept.linear is not None
    assert kept.linear.mse == pytest.approx(np.mean(errors**2), rel=1e-2)
    loaded = Baseline.load(tmp_path, data.signature)
    assert loaded is not None
    again = evaluate_baseline(loaded, data.preprocessing, data.test, data.signature)
    assert again == kept
    (tmp_path / BASELINE).write_bytes(b"not tensors")
    with pytest.raises(Damaged, match="cannot be read"):
        Baseline.load(tmp_path, data.signature)
    (tmp_path / BASELINE).unlink()
    assert Baseline.load(tmp_path, data.signature) is None


def test_tables_are_compared_as_encoded(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    rows = "".join(
        f"{'abc'[i % 3]},{'' if i % 7 == 0 else i},{10 * (i % 3) + i}\n" for i in range(60)
    )
    spec = shelf.spec({"id": shelf.put(f"c,x,y\n{rows}"), "target": "y"}, epochs=1)
    data = shelf.load(spec)
    assert data.test is not None
    baseline = fit_baseline(data.train, data.preprocessing, data.signature)
    found = evaluate_baseline(baseline, data.preprocessing, data.test, data.signature)
    assert isinstance(found, ValueBaseline)
    (tmp_path / BASELINE).write_bytes(baseline.file())
    loaded = Baseline.load(tmp_path, data.signature)
    assert loaded is not None
    assert evaluate_baseline(loaded, data.preprocessing, data.test, data.signature) == found
    encoded = data.preprocessing(data.train.inputs).double().numpy()
    weights, *_ = np.linalg.lstsq(
        np.c_[encoded, np.ones(len(encoded))], data.train.targets[:, 0].double().numpy(), rcond=None
    )
    test = data.preprocessing(data.test.inputs).double().numpy()
    predicted = np.c_[test, np.ones(len(test))] @ weights
    actual = data.test.targets[:, 0].double().numpy()
    assert found.linear is not None
    assert found.linear.r2 == pytest.approx(r2_score(actual, predicted), abs=0.02)
