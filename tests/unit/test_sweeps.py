"""Models trained together are the models trained apart."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ml import datasets, training
from ml.datasets import Dataset
from ml.datasets.splits import Rows
from ml.datasets.vision import VisionSpec
from ml.errors import Invalid
from ml.specs import TrainingSpec
from ml.sweeps import fit_together
from ml.training import Run
from tests.conftest import PLANE

CPU = torch.device("cpu")
BASE: dict[str, Any] = PLANE | {
    "dataset": PLANE["dataset"] | {"size": 150, "noise": 0.5},
    "model": {"kind": "mlp", "hidden": [8, 6], "dropout": 0.3},
    "optimizer": {"kind": "adam", "lr": 0.01},
    "epochs": 4,
}
MEMBERS: list[dict[str, Any]] = [
    {},
    {"seed": 1},
    {"seed": 2, "optimizer": {"kind": "adam", "lr": 0.1}},
    {"optimizer": {"kind": "adam", "lr": 0.01, "weight_decay": 0.1}},
    {"seed": 3, "model": {"kind": "mlp", "hidden": [8, 6], "dropout": [0.5, 0.0]}},
    {"seed": 4, "model": {"kind": "mlp", "hidden": [8, 6]}},
    {"seed": 5, "schedule": {"kind": "one_cycle"}, "clip_grad_norm": 0.5},
    {"seed": 6, "schedule": {"kind": "step", "step_size": 1}},
]


def specs_of(*changes: dict[str, Any]) -> list[TrainingSpec]:
    return [TrainingSpec.model_validate(BASE | change) for change in changes]


def data_of(spec: TrainingSpec) -> Dataset:
    return datasets.load(spec.dataset, spec.split, Path())


def assert_as_apart(specs: list[TrainingSpec], data: Dataset) -> None:
    for spec, member in zip(specs, fit_together(specs, data, CPU), strict=True):
        run = Run(training.build(spec, data), data, spec, CPU)
        reports = [r for r in training.fit(run) if r.level == "epoch"]
        torch.testing.assert_close(
            dict(member.model.state_dict()), dict(run.model.state_dict()), rtol=1e-3, atol=1e-4
        )
        assert member.losses == pytest.approx([r.values["train_loss"] for r in reports], rel=1e-4)


def test_models_trained_together_are_those_trained_apart() -> None:
    specs = specs_of(*MEMBERS)
    assert_as_apart(specs, data_of(specs[0]))


def test_convolutions_too() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (100, 28, 28), dtype=torch.uint8, generator=generator)
    rows = Rows(images, torch.randint(0, 10, (100,), generator=generator))
    source = VisionSpec(kind="mnist")
    data = Dataset(source.signature(), source.fit(rows, {}).preprocessing, rows, None, None)
    document = {"dataset": {"kind": "mnist"}, "epochs": 2, "batch_size": 32}
    cnn = {"kind": "cnn", "channels": [3, 4], "hidden": [16]}
    specs = [TrainingSpec.model_validate(document | {"model": cnn, "seed": s}) for s in range(3)]
    assert_as_apart(specs, data)


def test_a_member_that_diverges_leaves_the_others_alone() -> None:
    specs = specs_of({}, {"optimizer": {"kind": "adam", "lr": 1e6}}, {"seed": 1})
    data = data_of(specs[0])
    alone = fit_together([specs[0], specs[2]], data, CPU)
    first, wild, last = fit_together(specs, data, CPU)
    assert [first.losses, last.losses] == [
        pytest.approx(member.losses, rel=1e-5) for member in alone
    ]
    assert max(wild.losses) > 1e6 or not all(map(torch.isfinite, torch.tensor(wild.losses)))


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"model": {"kind": "mlp", "hidden": [8]}}, (1, "model")),
        ({"epochs": 5}, (1, "epochs")),
        ({"batch_size": 16}, (1, "batch_size")),
        ({"optimizer": {"kind": "sgd"}}, (1, "optimizer")),
        ({"schedule": {"kind": "plateau"}}, (1, "schedule")),
        ({"patience": 3}, (1, "patience")),
    ],
)
def test_what_cannot_be_trained_together(change: dict[str, Any], loc: tuple[int, str]) -> None:
    specs = specs_of({}, change)
    with pytest.raises(Invalid) as error:
        fit_together(specs, data_of(specs[0]), CPU)
    assert error.value.loc == loc
