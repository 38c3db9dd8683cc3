"""Test rows measured while training are reported and decide nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ml import datasets
from ml.datasets import Rows
from ml.evaluation.metrics import evaluate
from ml.losses import LOSSES
from ml.specs import TrainingSpec
from ml.training import loop
from ml.training.initial_model import build
from ml.training.loop import Report
from ml.training.run import Run
from tests.conftest import PLANE

CPU = torch.device("cpu")
DECIDING: dict[str, Any] = PLANE | {
    "dataset": PLANE["dataset"] | {"size": 100, "noise": 0.5},
    "model": {"kind": "mlp", "hidden": [8], "dropout": 0.3},
    "optimizer": {"kind": "adam", "lr": 0.2},
    "schedule": {"kind": "plateau", "factor": 0.5, "patience": 0},
    "patience": 3,
    "keep_best": True,
    "epochs": 30,
}
"""Everything that looks at a loss after each epoch."""


def prepare(document: dict[str, Any], misleading: bool = False) -> Run:
    """Return a run; with `misleading`, its test rows are the opposite of what it learns."""
    spec = TrainingSpec.of(document)
    data = datasets.load(spec.dataset, spec.split, Path())
    assert data.test is not None
    if misleading:
        data = replace(data, test=Rows(data.test.inputs, -1000 * data.test.targets))
    return Run(build(spec, data), data, spec, CPU)


def epochs(run: Run) -> list[Report]:
    return [report for report in loop.train(run) if report.level == "epoch"]


def without_test(reports: list[Report]) -> list[Report]:
    return [
        replace(report, values={n: v for n, v in report.values.items() if n[:5] != "test_"})
        for report in reports
    ]


@pytest.mark.parametrize(
    ("dataset", "asked", "resolved"),
    [
        ("mnist", {}, 1),
        ("kmnist", {"test_every": None}, 1),
        ("fashion_mnist", {"test_every": 0}, 0),
        ("mnist", {"test_every": 5}, 5),
        (PLANE["dataset"], {}, 0),
        (PLANE["dataset"], {"test_every": 2}, 2),
    ],
)
def test_mnist_family_is_tested_every_epoch(
    dataset: Any, asked: dict[str, Any], resolved: int
) -> None:
    spec = TrainingSpec.of({"dataset": dataset} | asked)
    assert spec.test_every == resolved
    assert TrainingSpec.of(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize("split", [{"validation": 0.2, "test": 0.2}, {"test": 0.2}])
@pytest.mark.parametrize("misleading", [False, True])
def test_test_rows_decide_nothing(split: dict[str, Any], misleading: bool) -> None:
    document = DECIDING | {"split": split}
    expected = epochs(run := prepare(document))
    reports = epochs(watched := prepare(document | {"test_every": 1}, misleading))
    assert without_test(reports) == expected
    assert all("test_loss" in report.values for report in reports)
    assert 3 < len(reports) < 30
    assert len({report.values["lr"] for report in reports}) > 1
    if misleading:
        # By these rows, the first epochs would be the best.
        assert (watched.best_epoch or 0) > 1
    pairs = zip(watched.model.parameters(), run.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_test_rows_are_measured_every_so_many_epochs() -> None:
    run = prepare(PLANE | {"epochs": 6, "test_every": 3})
    reports = epochs(run)
    assert ["test_loss" in report.values for report in reports] == [False, False, True] * 2
    assert run.data.test is not None
    figures = evaluate(run.model, run.data.test, run.signature, LOSSES["mse"])
    shown = {n[5:]: v for n, v in reports[-1].values.items() if n[:5] == "test_"}
    assert shown == figures
    assert shown.keys() == {"loss", "mse", "mae", "rmse", "r2"}


def test_rows_that_are_not_measured_are_not_kept_on_the_device() -> None:
    assert prepare(PLANE).test is None
