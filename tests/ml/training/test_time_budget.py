"""`max_seconds`: a budget of time that ends a run with what it has learned."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ml import datasets
from ml.evaluation.metrics import evaluate
from ml.losses import LOSSES
from ml.specs import TrainingSpec
from ml.training import checkpoints, loop
from ml.training.engines.choose import choose
from ml.training.initial_model import build
from ml.training.loop import Report
from ml.training.run import Run
from ml.training.time_budget import TimeBudget, seconds_per_run
from tests.ml.training.small_run import SMALL_RUN

CPU = torch.device("cpu")
# Four steps per epoch.
SMALL: dict[str, Any] = SMALL_RUN | {"epochs": 5}


def prepare(document: dict[str, Any]) -> Run:
    """Return a run in whose time a step takes a second."""
    spec = TrainingSpec.of(document)
    data = datasets.load(spec.dataset, spec.split, Path())
    run = Run(build(spec, data), data, spec, CPU)
    run.time_budget = TimeBudget(spec, lambda: float(run.progress.step))
    return run


def train(run: Run, until: int | None = None) -> list[Report]:
    """Return the reports of a run step by step, up to step number `until`."""
    reports = []
    engine = choose(run)
    engine.steps_per_advance = 1
    for report in loop.fit(run, engine):
        if report is not None:
            reports.append(report)
        elif run.progress.step == until:
            break
    return reports


def weights(run: Run) -> list[torch.Tensor]:
    return [value.clone() for value in run.model.state_dict().values()]


@pytest.mark.parametrize(
    ("seconds", "steps", "epochs", "reason"),
    [
        (1e-9, 1, 1, "max_seconds"),
        (3.5, 4, 1, "max_seconds"),
        (4, 4, 1, "max_seconds"),
        (9.5, 10, 3, "max_seconds"),
        (18, 18, 5, "max_seconds"),
        (19.5, 20, 5, None),
        (20, 20, 5, None),
        (1e9, 20, 5, None),
    ],
)
def test_run_ends_after_the_step_in_which_its_time_is_up(
    seconds: float, steps: int, epochs: int, reason: str | None
) -> None:
    run = prepare(SMALL | {"max_seconds": seconds})
    reports = train(run)
    assert (run.progress.step, run.progress.stopped_by) == (steps, reason)
    assert [r.epoch for r in reports if r.level == "epoch"] == list(range(1, epochs + 1))
    train(unlimited := prepare(SMALL), until=steps)
    assert all(map(torch.equal, weights(run), weights(unlimited)))


def test_last_epoch_is_measured_although_it_is_cut_short() -> None:
    run = prepare(SMALL | {"max_seconds": 6, "report_every": 1})
    *_, last = reports = train(run)
    first, second = (r.values["loss"] for r in reports if r.level == "step" and r.epoch == 2)
    assert last.values["train_loss"] == pytest.approx((first + second) / 2)
    assert run.validation is not None
    figures = evaluate(run.model, run.validation, run.signature, LOSSES["mse"])
    assert last.values["validation_loss"] == figures["loss"]


def test_best_weights_are_kept() -> None:
    document = SMALL | {"optimizer": {"kind": "adam", "lr": 0.2}, "keep_best": True}
    run = prepare(document | {"max_seconds": 18})
    losses = [r.values["validation_loss"] for r in train(run) if r.level == "epoch"]
    assert len(losses) == 5
    assert (run.best_epoch, run.kept_epoch) == (losses.index(min(losses)) + 1,) * 2
    assert run.best_epoch != 5
    assert run.validation is not None
    figures = evaluate(run.model, run.validation, run.signature, LOSSES["mse"])
    assert figures["loss"] == min(losses)


@pytest.mark.parametrize("seconds", [8, 9.5])
def test_attempts_share_the_time(tmp_path: Path, seconds: float) -> None:
    document = SMALL | {"max_seconds": seconds, "keep_best": True}
    expected = train(whole := prepare(document))
    for step in range(whole.progress.step):
        before = train(halted := prepare(document), until=step)
        checkpoints.save(tmp_path / str(step), 1, step, halted.state_dict(), keep=1)
        state = checkpoints.load_newest(tmp_path / str(step))
        assert state is not None
        resumed = prepare(document)
        resumed.load_state_dict(state)
        assert before + train(resumed) == expected
        assert resumed.time_budget.spent == whole.time_budget.spent
        assert all(map(torch.equal, weights(resumed), weights(whole)))


@pytest.mark.parametrize(
    "changes",
    [{"max_seconds": 9.5}, {"patience": 0, "min_delta": 1e9}],
    ids=["max_seconds", "patience"],
)
def test_run_that_was_stopped_does_not_go_on(changes: dict[str, Any]) -> None:
    """A job paused at the very end is resumed to be saved."""
    train(run := prepare(SMALL | changes))
    assert run.progress.stopped_by == next(iter(changes))
    resumed = prepare(SMALL | changes)
    resumed.load_state_dict(run.state_dict())
    assert train(resumed) == []
    assert resumed.progress == run.progress
    assert all(map(torch.equal, weights(resumed), weights(run)))


def test_folds_and_the_final_run_have_equal_shares() -> None:
    assert seconds_per_run(60, 5) == 10
    assert seconds_per_run(60, None) == 60
    assert seconds_per_run(None, 5) is None
    run = prepare(SMALL | {"max_seconds": 12, "split": {"folds": 3}})
    train(run)
    assert run.progress.step == 3


def test_time_between_attempts_does_not_count() -> None:
    now = 100.0
    budget = TimeBudget(TrainingSpec.of(SMALL | {"max_seconds": 10}), lambda: now)
    budget.start()
    now = 104.0
    assert not budget.is_spent()
    now = 1000.0
    budget.start()
    assert not budget.is_spent()
    now = 1006.0
    assert budget.is_spent()
    assert budget.spent == 10
