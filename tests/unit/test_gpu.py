"""What only a CUDA device can show."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from ml.stepping import Plain, Resident

from ml import datasets, training
from ml.artifacts import save_model
from ml.assessment import assess, judged_on
from ml.datasets import Dataset
from ml.datasets.splits import Rows
from ml.evaluation import evaluate
from ml.losses import LOSSES
from ml.preprocessing import Standardize
from ml.scores import Regression
from ml.specs import TrainingSpec
from ml.sweeps import fit_together
from tests.conftest import PLANE
from tests.unit.shelf import Shelf

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]


def test_a_job_on_the_gpu_learns_what_it_learns_on_the_cpu(tmp_path: Path) -> None:
    spec = TrainingSpec.model_validate(PLANE)
    data = datasets.load(spec.dataset, spec.split, tmp_path)
    assert data.test is not None
    losses = {}
    for name in ("cpu", "cuda"):
        device = training.resolve_device(name)
        model = copy.deepcopy(training.build(spec, data))
        reports = list(training.fit(training.Run(model, data, spec, device)))
        figures = evaluate(model, data.test.to(device), data.signature, LOSSES[spec.loss])
        save_model(tmp_path / name, model, spec, data.signature, figures, "", device)
        losses[name] = (reports[-1].values["train_loss"], figures["mse"])
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-3)


@pytest.mark.parametrize("changes", [{}, {"schedule": {"kind": "one_cycle"}}, {"report_every": 7}])
def test_a_captured_run_learns_what_a_plain_one_learns(changes: dict[str, Any]) -> None:
    spec = TrainingSpec.model_validate(
        PLANE | {"model": {"kind": "mlp", "hidden": [32]}, "epochs": 4, "device": "cuda"} | changes
    )
    data = datasets.load(spec.dataset, spec.split, Path())
    weights = []
    for plain in (True, False):
        run = training.Run(training.build(spec, data), data, spec, torch.device("cuda"))
        assert run.stepper.engine == "resident+graph"
        if plain:
            run.stepper = Plain(run, Resident(run.train, spec.batch_size))
        for _ in training.fit(run):
            pass
        weights.append([parameter.detach().cpu() for parameter in run.model.parameters()])
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize(
    "model", [{"kind": "cnn"}, {"kind": "torchvision", "name": "resnet18"}], ids=["cnn", "resnet18"]
)
def test_images_are_learned_in_every_precision(model: dict[str, Any], precision: str) -> None:
    spec = TrainingSpec.model_validate(
        {"dataset": {"kind": "mnist"}, "model": model, "precision": precision, "epochs": 3}
    )
    images = torch.randint(0, 256, (200, 28, 28), dtype=torch.uint8)
    rows = Rows(images, torch.arange(200) % 10)
    normalisation = Standardize(torch.tensor(0.5), torch.tensor(0.3), unit=255.0)
    data = Dataset(spec.dataset.signature(), normalisation, rows, None, None)
    run = training.Run(training.build(spec, data), data, spec, torch.device("cuda"))
    losses = [r.values["train_loss"] for r in training.fit(run) if r.level == "epoch"]
    assert all(map(math.isfinite, losses))


def test_models_trained_together_are_those_trained_apart() -> None:
    specs = [
        TrainingSpec.model_validate(
            PLANE | {"model": {"kind": "mlp", "hidden": [8]}, "epochs": 3, "seed": seed}
        )
        for seed in range(4)
    ]
    data = datasets.load(specs[0].dataset, specs[0].split, Path())
    members = fit_together(specs, data, torch.device("cuda"))
    for spec, member in zip(specs, members, strict=True):
        run = training.Run(training.build(spec, data), data, spec, torch.device("cpu"))
        for _ in training.fit(run):
            pass
        torch.testing.assert_close(
            list(member.model.parameters()), list(run.model.parameters()), rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("embedding", [None, 4])
def test_tables_are_learned_as_on_the_cpu(tmp_path: Path, embedding: int | None) -> None:
    shelf = Shelf(tmp_path)
    rows = "\n".join(f"{1.7e9 + i},{'abc'[i % 3]},{i if i % 5 else ''},{3 * i}" for i in range(90))
    spec = shelf.spec(
        {"id": shelf.put(f"time,kind,gappy,y\n{rows}"), "target": "y"},
        model={"kind": "mlp", "hidden": [16], "embedding": embedding},
        epochs=5,
    )
    data = shelf.load(spec)
    split, judged = judged_on(data)
    errors = []
    for name in ("cpu", "cuda"):
        device = torch.device(name)
        run = training.Run(training.build(spec, data), data, spec, device)
        for _ in training.fit(run):
            pass
        found = assess(
            run.model, judged.to(device), data.signature, LOSSES[spec.loss], split
        ).evaluation
        assert isinstance(found, Regression)
        errors.append(found.mae)
    assert errors[1] == pytest.approx(errors[0], rel=1e-3)


def test_auto_means_the_gpu() -> None:
    assert training.resolve_device("auto").type == "cuda"
