"""Models of real data are as accurate as those of scikit-learn on the same rows."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import datasets as bundled
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ml.evaluation.metrics import evaluate
from ml.losses import LOSSES
from tests.ml.shelf import Shelf

Array = NDArray[Any]


class SplitData:
    """A bundled data set with the split that epochd and scikit-learn share."""

    def __init__(self, name: str) -> None:
        loaded: Any = getattr(bundled, f"load_{name}")()
        names = getattr(loaded, "target_names", None)
        target = loaded.target if names is None or name == "digits" else names[loaded.target]
        index = np.arange(len(target))
        strata = None if name == "diabetes" else target
        train, test = train_test_split(index, test_size=0.3, random_state=0, stratify=strata)
        self.x, self.y = loaded.data, target
        self.train, self.test = train, test
        self.names = [str(n) for n in getattr(loaded, "feature_names", range(self.x.shape[1]))]

    def csv(self) -> str:
        part = np.full(len(self.y), "train")
        part[self.test] = "test"
        lines = [",".join([*(f'"{n}"' for n in self.names), "target", "part"])]
        for row, y, p in zip(self.x.tolist(), self.y.tolist(), part.tolist(), strict=True):
            lines.append(",".join([*map(repr, row), str(y), p]))
        return "\n".join(lines)

    def predictions_of(self, estimator: Any) -> Array:
        """Return the predictions of an estimator for the test rows."""
        model = make_pipeline(StandardScaler(), estimator)
        # Products this small take far longer on all cores than on one.
        with threadpool_limits(1):
            model.fit(self.x[self.train], self.y[self.train])
            predicted: Array = model.predict(self.x[self.test])
        return predicted


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_diabetes_matches_least_squares(shelf: Shelf) -> None:
    data = SplitData("diabetes")
    spec = shelf.spec(
        {"id": shelf.put(data.csv()), "target": "target", "split_by": "part"},
        optimizer={"kind": "adam", "lr": 0.05},
        schedule={"kind": "cosine"},
        epochs=150,
    )
    run, divided = shelf.train(spec)
    assert divided.test is not None
    figures = evaluate(run.model, divided.test, divided.signature, LOSSES["mse"])
    expected = data.predictions_of(LinearRegression())
    assert figures["r2"] == pytest.approx(r2_score(data.y[data.test], expected), abs=0.01)
    model, manifest = shelf.model(spec)
    predicted = model.predict(model.rows(data.x[data.test].tolist())).values[:, 0]
    assert np.corrcoef(predicted, expected)[0, 1] > 0.999
    assert manifest.linear is not None
    exact = LinearRegression().fit(data.x[data.train], data.y[data.train])
    weights = np.array([manifest.linear.weights[name] for name in data.names])
    np.testing.assert_allclose(weights, exact.coef_, atol=0.15 * np.abs(exact.coef_).max())


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_classification_is_as_accurate_as_scikit_learn(shelf: Shelf, name: str) -> None:
    data = SplitData(name)
    request = {"id": shelf.put(data.csv()), "target": "target", "split_by": "part"}
    estimators = {
        "linear": LogisticRegression(max_iter=1000),
        "mlp": MLPClassifier((32,), max_iter=1000, random_state=0),
    }
    models: dict[str, dict[str, Any]] = {"linear": {}, "mlp": {"hidden": [32]}}
    for kind, options in models.items():
        spec = shelf.spec(
            request,
            model={"kind": kind} | options,
            optimizer={"kind": "adam", "lr": 0.02},
            epochs=100,
            batch_size=32,
        )
        run, divided = shelf.train(spec)
        assert divided.test is not None
        metrics = evaluate(run.model, divided.test, divided.signature, LOSSES["cross_entropy"])
        expected = accuracy_score(data.y[data.test], data.predictions_of(estimators[kind]))
        # Allow for a few of the 45 to 171 test rows.
        assert metrics["accuracy"] >= expected - 0.045


def test_digits_are_learned_as_columns_and_as_images(shelf: Shelf) -> None:
    data = SplitData("digits")
    columns = shelf.spec(
        {"id": shelf.put(data.csv()), "target": "target", "split_by": "part"}
        | {"task": "classification"},
        model={"kind": "mlp", "hidden": [64]},
        optimizer={"kind": "adam", "lr": 0.01},
        epochs=20,
    )
    run, divided = shelf.train(columns)
    assert divided.test is not None
    metrics = evaluate(run.model, divided.test, divided.signature, LOSSES["cross_entropy"])
    expected = data.predictions_of(MLPClassifier((64,), max_iter=300, random_state=0))
    assert metrics["accuracy"] >= accuracy_score(data.y[data.test], expected) - 0.02

    file = io.BytesIO()
    pictures = (data.x.reshape(-1, 8, 8) * 15).astype(np.uint8)
    np.savez_compressed(file, images=pictures, labels=data.y)
    images = shelf.spec(
        {"id": shelf.put(file.getvalue())},
        model={"kind": "cnn", "channels": [16, 32], "hidden": [64], "dropout": 0.2},
        optimizer={"kind": "adam", "lr": 0.005},
        epochs=12,
        split={"test": 0.3, "stratify": True},
    )
    run, divided = shelf.train(images)
    assert divided.test is not None
    metrics = evaluate(run.model, divided.test, divided.signature, LOSSES["cross_entropy"])
    assert metrics["accuracy"] > 0.96
