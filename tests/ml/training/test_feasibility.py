"""Specs that cannot be trained are refused before their data is loaded."""

from pathlib import Path
from typing import Any

import pytest

from ml import datasets
from ml.errors import Invalid
from ml.specs import TrainingSpec
from ml.training import feasibility, loop
from ml.training.initial_model import build
from ml.training.run import Run
from tests.conftest import LINE, PLANE
from tests.ml.shelf import Shelf
from tests.ml.test_networks import CPU, RESNET

MNIST: dict[str, Any] = {"dataset": {"kind": "mnist"}, "model": RESNET}
# 800 training rows.
ONE_STEP: dict[str, Any] = PLANE | {"epochs": 1, "batch_size": 800}


def rows(count: int) -> dict[str, Any]:
    return {"dataset": PLANE["dataset"] | {"size": count}, "split": {"test": 0}}


@pytest.mark.parametrize(
    ("document", "loc", "says"),
    [
        (PLANE | {"schedule": {"kind": "cosine", "min_lr": 0.02}}, "schedule.min_lr", "0.01"),
        (PLANE | {"schedule": {"kind": "plateau", "min_lr": 0.02}}, "schedule.min_lr", "0.01"),
        (ONE_STEP | {"schedule": {"kind": "one_cycle"}}, "schedule", "this run has 1"),
        (MNIST | {"batch_size": 1}, "batch_size", "one of 60,000 training rows"),
        (MNIST | {"batch_size": 59_999}, "batch_size", "batches of 59,999"),
        (MNIST | {"batch_size": 52, "split": {"folds": 7}}, "batch_size", "one of 51,429"),
        (PLANE | {"snapshot_every": 1}, "snapshot_every", "only a regression of one number"),
        (MNIST | {"snapshot_every": 1, "batch_size": 64}, "snapshot_every", "leave it out"),
        (LINE | {"snapshot_every": 3}, "snapshot_every", "66 curves, .* choose at least 4"),
        (PLANE | {"test_every": 1, "split": {"test": 0}}, "test_every", "no test rows.*choose 0"),
    ],
)
def test_specs_that_cannot_be_trained_are_refused(
    document: dict[str, Any], loc: str, says: str
) -> None:
    with pytest.raises(Invalid, match=says) as error:
        feasibility.check(TrainingSpec.of(document))
    assert ".".join(map(str, error.value.loc)) == loc


@pytest.mark.parametrize(
    "document",
    [
        PLANE | {"schedule": {"kind": "cosine", "min_lr": 0.01}},
        ONE_STEP | {"schedule": {"kind": "one_cycle"}, "batch_size": 799},
        ONE_STEP | {"schedule": {"kind": "one_cycle"}, "epochs": 2},
        PLANE | {"batch_size": 1},
        PLANE | {"test_every": 1},
        LINE | {"snapshot_every": 4},
        MNIST | {"test_every": 3, "batch_size": 64},
        MNIST | {"batch_size": 64},
        MNIST | {"batch_size": 52},
        # The last batch of each fold has 2 rows.
        MNIST | {"batch_size": 50, "split": {"folds": 2}, "model": {"kind": "cnn"}},
    ],
)
def test_others_are_not(document: dict[str, Any]) -> None:
    feasibility.check(TrainingSpec.of(document))


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_sizes_of_folds_are_those_of_their_runs(folds: int) -> None:
    spec = TrainingSpec.of(PLANE | rows(20) | {"split": {"test": 0, "folds": folds}})
    sizes = datasets.division.training_sizes(spec.dataset.row_counts(), spec.split)
    runs = [datasets.load(spec.dataset, spec.split, Path(), fold) for fold in range(folds)]
    whole = datasets.load(spec.dataset, spec.split, Path())
    assert sizes == [len(data.train) for data in (*runs, whole)]


def test_sizes_of_groups_are_unknown_until_the_run(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put("x,who,y\n1,a,2\n2,b,4\n3,b,6\n", target="y")
    document = {
        "dataset": {"kind": "upload", "id": "ds_0"},
        "model": "linear",
        "split": {"group": "who", "test": 0.5},
        "schedule": {"kind": "one_cycle"},
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "epochs": 1,
    }
    spec = TrainingSpec.of(document, shelf)
    feasibility.check(spec)
    data = datasets.load(spec.dataset, spec.split, tmp_path)
    *_, last = loop.train(Run(build(spec, data), data, spec, CPU))
    assert last.values["lr"] == 0.1
