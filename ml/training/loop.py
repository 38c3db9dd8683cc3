"""The training loop, which can be interrupted between steps and resumed with the same result."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from ml.datasets import Rows
from ml.evaluation.metrics import evaluate
from ml.specs import TrainingSpec
from ml.training import divergence
from ml.training.engines.base import Engine
from ml.training.engines.choose import choose
from ml.training.run import Run

POSITION = ("rows_seen", "rows", "percent")
"""Figures of a step report that say where in the epoch it is: no metrics of the model."""


@dataclass(frozen=True)
class Report:
    """Metrics reported during training.

    At level `step`: `loss`, the mean over the steps since the previous report, and `POSITION`, the
    rows of the epoch seen so far, all its rows, and the percentage of the former. At level `epoch`:
    `train_loss`, the mean over the epoch's rows, `lr`, the learning rate of its last step, the
    metrics of the validation split and, every `test_every` epochs, those of the test split. At
    level `fold`: the metrics of a cross-validation fold, whose number is both `epoch` and `step`.
    """

    level: Literal["step", "epoch", "fold"]
    epoch: int
    step: int
    values: dict[str, float]
    best_epoch: int | None = None
    """At level `epoch`: the epoch with the lowest monitored loss so far."""


def fit(run: Run, engine: Engine | None = None) -> Iterator[Report | None]:
    """Train `run.model` in place and yield reports.

    None is yielded before each step, or before each group of steps an engine executes at once. At
    these points `run.state_dict()` is consistent and training can be interrupted.

    Raises:
        Diverged: the loss became NaN or infinite, or in the end a weight.
    """
    set_precision(run.spec)
    engine = engine or choose(run)
    if run.progress.step == 0:
        run.fit_curves.record(run.result, epoch=0)
    run.time_budget.start()
    while run.progress.epoch <= run.spec.epochs and not _is_stopped(run):
        run.model.train()
        engine.begin(run.epoch_order(), run.progress.batch)
        while run.batches_left:
            yield None
            # Each step takes a batch, goes forward to the loss and backward, and updates.
            losses = engine.advance(run.batches_left)
            for step, loss in enumerate(losses, start=run.progress.step + 1):
                run.add_loss(loss, step)
                if run.is_reported(step):
                    yield _step_report(run, step)
            if run.batches_left and run.time_budget.is_spent():
                # The epoch is cut short, and measured like a whole one.
                run.progress.stopped_by = "max_seconds"
                break
        yield _end_epoch(run)
    run.model.load_state_dict(run.best_weights or run.result.state_dict())
    run.settle()
    divergence.check_weights(run.model.get_submodule("network"), run.kept_epoch)


def train(run: Run, engine: Engine | None = None) -> Iterator[Report]:
    """Train to completion, yielding only the reports of `fit`."""
    return (report for report in fit(run, engine) if report is not None)


def set_precision(spec: TrainingSpec) -> None:
    """Allow TensorFloat-32 in this process if, and only if, the spec requests it."""
    torch.backends.cuda.matmul.allow_tf32 = spec.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = spec.precision == "tf32"


def _step_report(run: Run, step: int) -> Report:
    progress = run.progress
    loss = progress.recent_loss / progress.recent_steps
    progress.recent_loss, progress.recent_steps = 0.0, 0
    seen, rows = run.rows_seen(step), len(run.train)
    position = dict(zip(POSITION, (seen, rows, 100 * seen / rows), strict=True))
    return Report("step", progress.epoch, step, {"loss": loss} | position)


def _end_epoch(run: Run) -> Report:
    """Evaluate the epoch, keep its weights if they are the best so far, and start the next."""
    progress = run.progress
    if run.average is not None:
        run.average.update("epoch", done=progress.epoch / run.spec.epochs)
    values = {
        "train_loss": progress.epoch_loss / run.rows_seen(progress.step),
        "lr": progress.lr,
    }
    if run.validation is not None:
        values |= _measured(run, "validation", run.validation)
    if run.test is not None and progress.epoch % run.spec.test_every == 0:
        values |= _measured(run, "test", run.test)
    # The metrics omit a loss that is not finite.
    watched = values.get("train_loss" if run.validation is None else "validation_loss", math.inf)
    if watched < progress.patience_loss - run.spec.min_delta:
        progress.patience_loss, progress.patience_epoch = watched, progress.epoch
    if watched < progress.best_loss:
        progress.best_loss, progress.best_epoch = watched, progress.epoch
        if run.spec.keep_best:
            state = run.result.state_dict()
            run.best_weights = {name: tensor.clone() for name, tensor in state.items()}
    run.fit_curves.record(run.result, progress.epoch)
    run.end_epoch(watched)
    return Report("epoch", progress.epoch, progress.step, values, run.best_epoch)


def _measured(run: Run, split: str, rows: Rows) -> dict[str, float]:
    with run.autocast():
        figures = evaluate(run.result, rows, run.signature, run.spec.loss.measure)
    return {f"{split}_{name}": figure for name, figure in figures.items()}


def _is_stopped(run: Run) -> bool:
    """Return whether the run ends before its current epoch, and note the reason."""
    patience, progress = run.spec.patience, run.progress
    finished = progress.epoch - 1
    if progress.stopped_by is None and progress.batch == 0 and finished:
        if patience is not None and finished - progress.patience_epoch > patience:
            progress.stopped_by = "patience"
        elif run.time_budget.is_spent():
            progress.stopped_by = "max_seconds"
    return progress.stopped_by is not None
