"""Averaged weights equal those of `torch.optim.swa_utils`; they are measured and saved."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

from ml import datasets
from ml.evaluation.metrics import evaluate
from ml.losses import LOSSES
from ml.specs import TrainingSpec
from ml.training import loop
from ml.training.engines.choose import choose
from ml.training.initial_model import build
from ml.training.loop import Report
from ml.training.run import Run
from tests.conftest import PLANE

CPU = torch.device("cpu")
# 100 training rows in batches of 32: four steps per epoch.
SMALL: dict[str, Any] = PLANE | {
    "dataset": PLANE["dataset"] | {"size": 150, "noise": 0.5},
    "model": {
        "kind": "sequential",
        "layers": [{"linear": 8}, {"batch_norm": {}}, "relu", {"dropout": 0.3}],
    },
    "optimizer": {"kind": "adam", "lr": 0.05},
    "split": {"validation": 0.2, "test": 0.133},
    "epochs": 8,
}
EMA = {"kind": "ema", "decay": 0.9}
SWA = {"kind": "swa", "start": 0.5}


def prepare(document: dict[str, Any]) -> Run:
    spec = TrainingSpec.of(document)
    data = datasets.load(spec.dataset, spec.split, Path())
    return Run(build(spec, data), data, spec, CPU)


def train(run: Run, after: Callable[[str], None] = lambda level: None) -> list[Report]:
    """Return the reports of epochs; `after` is called after each step and epoch."""
    reports = []
    engine, step = choose(run), 0
    engine.steps_per_advance = 1
    for report in loop.fit(run, engine):
        if run.progress.step > step:
            step = run.progress.step
            after("step")
        if report is not None and report.level == "epoch":
            after("epoch")
            reports.append(report)
    return reports


def floats(model: nn.Module) -> list[torch.Tensor]:
    return [value for value in model.state_dict().values() if value.is_floating_point()]


@pytest.mark.parametrize(
    ("average", "formula", "every", "from_epoch"),
    [
        (EMA, partial(get_ema_multi_avg_fn, 0.9), "step", 1),
        ({"kind": "ema"}, get_ema_multi_avg_fn, "step", 1),
        (SWA, get_swa_multi_avg_fn, "epoch", 5),
        ("swa", get_swa_multi_avg_fn, "epoch", 7),
    ],
    ids=["ema 0.9", "ema", "swa 0.5", "swa"],
)
def test_averages_are_those_of_torch(
    average: Any, formula: Callable[[], Any], every: str, from_epoch: int
) -> None:
    run = prepare(SMALL | {"average": average})
    of_torch = formula()

    def of_numbers(averages: Any, *now: Any) -> None:
        if averages[0].is_floating_point():  # torch fails on the counters of batch norm
            of_torch(averages, *now)

    reference = AveragedModel(run.model, multi_avg_fn=of_numbers, use_buffers=True)

    def after(level: str) -> None:
        # After an epoch's report, the next one is current.
        if level == every and run.progress.epoch - (level == "epoch") >= from_epoch:
            reference.update_parameters(run.model)

    train(run, after)
    assert reference.n_averaged == (32 if every == "step" else 9 - from_epoch)
    learned, expected = floats(run.model), floats(reference.module)
    assert len(learned) == len(expected) == 8
    assert all(map(torch.equal, learned, expected))


@pytest.mark.parametrize("average", [EMA, SWA], ids=str)
def test_averages_are_measured_and_leave_the_trained_weights_alone(average: dict[str, Any]) -> None:
    plain = train(prepare(SMALL))
    run = prepare(SMALL | {"average": average, "test_every": 1})
    reports = train(run)
    trained = [report.values["train_loss"] for report in plain]
    assert [report.values["train_loss"] for report in reports] == trained
    measured = [
        a.values["validation_loss"] == b.values["validation_loss"]
        for a, b in zip(reports, plain, strict=True)
    ]
    # The mean of the first epoch's weights alone is those weights.
    assert measured == ([False] * 8 if average is EMA else [True] * 5 + [False] * 3)
    for split, rows in (("validation", run.validation), ("test", run.test)):
        assert rows is not None
        figures = evaluate(run.model, rows, run.signature, LOSSES["mse"])
        assert reports[-1].values[f"{split}_loss"] == figures["loss"]


@pytest.mark.parametrize("average", [EMA, SWA], ids=str)
def test_best_averages_are_kept(average: dict[str, Any]) -> None:
    wild = {"kind": "adam", "lr": 0.5}
    run = prepare(SMALL | {"average": average, "keep_best": True, "optimizer": wild})
    losses = [report.values["validation_loss"] for report in train(run)]
    assert run.best_epoch == losses.index(min(losses)) + 1
    assert run.validation is not None
    figures = evaluate(run.model, run.validation, run.signature, LOSSES["mse"])
    assert figures["loss"] == min(losses)


def test_run_that_ends_before_the_first_average_keeps_its_weights() -> None:
    early = SMALL | {"patience": 1, "min_delta": 1e9}
    train(plain := prepare(early))
    train(run := prepare(early | {"average": SWA}))
    assert run.progress.epoch - 1 == 3
    assert all(map(torch.equal, floats(run.model), floats(plain.model)))


def test_run_saved_at_its_end_ends_with_the_same_averages() -> None:
    train(run := prepare(SMALL | {"average": EMA}))
    resumed = prepare(SMALL | {"average": EMA})
    resumed.load_state_dict(run.state_dict())
    assert train(resumed) == []
    assert all(map(torch.equal, floats(run.model), floats(resumed.model)))
