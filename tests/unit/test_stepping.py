"""Every engine does the same steps. What a CUDA graph does is done here without the graph."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from ml import datasets, training
from ml.errors import Diverged
from ml.models import Activation
from ml.specs import TrainingSpec
from ml.stepping import Graphed, Launch, Placement, Plain, Resident, Stream
from ml.training import Report, Run
from tests.conftest import PLANE

CPU = torch.device("cpu")
# 100 training rows in batches of 32: three full steps an epoch, and one of 4 rows.
SMALL: dict[str, Any] = PLANE | {
    "dataset": PLANE["dataset"] | {"size": 150, "noise": 0.5},
    "model": {"kind": "mlp", "hidden": [8, 8], "dropout": 0.3},
    "optimizer": {"kind": "adam", "lr": 0.01},
    "split": {"validation": 0.2, "test": 0.133},
    "epochs": 4,
    "report_every": 5,
}


def start(document: dict[str, Any], engine: str) -> Run:
    spec = TrainingSpec.model_validate(document)
    data = datasets.load(spec.dataset, spec.split, Path())
    run = Run(training.build(spec, data), data, spec, CPU)
    if engine == "plain":
        run.stepper = Plain(run, Resident(run.train, spec.batch_size))
    if engine == "streamed":
        run.stepper = Plain(run, Stream(run.train, spec.batch_size, CPU))
    if engine == "graph":
        source = Resident(run.train, spec.batch_size)
        run.stepper = Graphed(run, source, capture=without_graph, unrolled=2)
    return run


def without_graph(run: Run, steps: Launch) -> Launch:
    """What is captured is done once more for every launch, and nothing else is."""
    return steps


def outcome(run: Run) -> tuple[list[Report], list[torch.Tensor]]:
    reports = list(training.fit(run))
    return reports, list(run.model.state_dict().values())


@pytest.mark.parametrize("engine", ["by hand", "streamed", "graph"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        *(
            {"model": {"kind": "mlp", "hidden": [8, 8], "activation": activation}}
            for activation in get_args(Activation)
        ),
        *({"loss": loss} for loss in ("mae", "huber")),
        {"model": {"kind": "linear"}},
        {"schedule": {"kind": "one_cycle"}},
        {"schedule": {"kind": "step", "step_size": 1}},
        {"clip_grad_norm": 0.1, "optimizer": {"kind": "sgd", "momentum": 0.9}},
        {"batch_size": 1000},
        {"batch_size": 25},
        {"report_every": 1},
    ],
    ids=str,
)
def test_every_engine_learns_the_same(engine: str, changes: dict[str, Any]) -> None:
    expected_reports, expected = outcome(start(SMALL | changes, "plain"))
    reports, weights = outcome(start(SMALL | changes, engine))
    torch.testing.assert_close(weights, expected)
    assert [(r.level, r.epoch, r.step) for r in reports] == [
        (r.level, r.epoch, r.step) for r in expected_reports
    ]
    for report, like in zip(reports, expected_reports, strict=True):
        assert report.values == pytest.approx(like.values, rel=1e-4)


class Stopped(Exception):
    pass


@pytest.mark.parametrize("engine", ["plain", "by hand", "streamed", "graph"])
def test_every_engine_goes_on_within_an_epoch(engine: str) -> None:
    _, expected = outcome(start(SMALL, engine))
    halted = start(SMALL, engine)

    def stop(run: Run) -> None:
        if run.progress.step >= 5:
            raise Stopped

    with pytest.raises(Stopped):
        list(training.fit(halted, stop))
    assert 0 < halted.progress.batch < 4
    state = halted.state_dict()
    resumed = start(SMALL, engine)
    resumed.load_state_dict(state)
    _, weights = outcome(resumed)
    torch.testing.assert_close(weights, expected, rtol=0, atol=0)


@pytest.mark.parametrize("engine", ["by hand", "streamed", "graph"])
def test_every_engine_names_the_step_that_diverged(engine: str) -> None:
    diverging = SMALL | {"optimizer": {"kind": "sgd", "lr": 1e4}, "epochs": 50}
    told = []
    for name in ("plain", engine):
        with pytest.raises(Diverged) as error:
            outcome(start(diverging, name))
        told.append(str(error.value))
    assert told[0] == told[1]
    assert "epoch " in told[0]


@pytest.mark.parametrize(
    ("changes", "placement", "engine"),
    [
        ({}, None, "resident+by-hand"),
        ({"detect_anomaly": True}, None, "resident"),
        ({"precision": "bfloat16"}, None, "resident"),
        ({"compile": True}, None, "resident+compile"),
        ({}, "streamed", "streamed"),
    ],
)
def test_the_engine_is_chosen_by_the_situation(
    changes: dict[str, Any], placement: Placement | None, engine: str
) -> None:
    spec = TrainingSpec.model_validate(SMALL | changes)
    data = datasets.load(spec.dataset, spec.split, Path())
    run = Run(training.build(spec, data), data, spec, CPU, placement)
    assert run.stepper.engine == engine


def test_bfloat16_learns_nearly_the_same() -> None:
    reports, weights = outcome(start(SMALL | {"precision": "bfloat16"}, "plain"))
    like, _ = outcome(start(SMALL, "plain"))
    assert all(weight.dtype == torch.float32 for weight in weights)
    loss, expected = reports[-1].values["train_loss"], like[-1].values["train_loss"]
    assert loss == pytest.approx(expected, rel=0.1)
    assert loss != expected


@pytest.mark.parametrize(
    ("changes", "stride"),
    [
        ({}, 8),
        ({"model": {"kind": "mlp", "hidden": [8192, 8192]}}, 1),
        ({"batch_size": 100, "model": {"kind": "mlp", "hidden": [9000], "dropout": 0.5}}, 1),
    ],
    ids=["short steps", "long steps", "much to draw"],
)
def test_by_hand_steps_are_prepared_together_where_they_are_short(
    changes: dict[str, Any], stride: int
) -> None:
    assert start(SMALL | changes, "by hand").stepper.stride == stride
