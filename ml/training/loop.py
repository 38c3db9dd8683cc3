"""The training loop, which can be interrupted between steps and resumed with the same result."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from ml.evaluation.metrics import evaluate
from ml.losses import LOSSES
from ml.specs import TrainingSpec
from ml.training import divergence
from ml.training.engines.base import Engine
from ml.training.engines.choose import choose
from ml.training.run import Run


@dataclass(frozen=True)
class Report:
    """Metrics reported during training.

    At level `step`: `loss`, the mean over the steps since the previous report. At level `epoch`:
    `train_loss`, the mean over the epoch's rows, `lr`, the learning rate of its last step, and the
    metrics of the validation split. At level `fold`: the metrics of a cross-validation fold, whose
    number is both `epoch` and `step`.
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
        run.fit_curves.record(run.model, epoch=0)
    while run.progress.epoch <= run.spec.epochs and not _is_patience_over(run):
        run.model.train()
        engine.begin(run.epoch_order(), run.progress.batch)
        while run.batches_left:
            yield None
            # Each step takes a batch, goes forward to the loss and backward, and updates.
            losses = engine.advance(run.batches_left)
            for step, loss in enumerate(losses, start=run.progress.step + 1):
                run.add_loss(loss, step)
                if step % run.spec.report_every == 0:
                    yield _step_report(run, step)
        yield _end_epoch(run)
    if run.best_weights is not None:
        run.model.load_state_dict(run.best_weights)
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
    return Report("step", progress.epoch, step, {"loss": loss})


def _end_epoch(run: Run) -> Report:
    """Evaluate the epoch, keep its weights if they are the best so far, and start the next."""
    progress = run.progress
    values = {
        "train_loss": progress.epoch_loss / len(run.train),
        "lr": progress.lr,
    }
    if run.validation is not None:
        with run.autocast():
            loss_of = LOSSES[run.spec.loss]
            figures = evaluate(run.model, run.validation, run.signature, loss_of)
        values |= {f"validation_{name}": figure for name, figure in figures.items()}
    # The metrics omit a loss that is not finite.
    watched = values.get("train_loss" if run.validation is None else "validation_loss", math.inf)
    if watched < progress.patience_loss - run.spec.min_delta:
        progress.patience_loss, progress.patience_epoch = watched, progress.epoch
    if watched < progress.best_loss:
        progress.best_loss, progress.best_epoch = watched, progress.epoch
        if run.spec.keep_best:
            state = run.model.state_dict()
            run.best_weights = {name: tensor.clone() for name, tensor in state.items()}
    run.fit_curves.record(run.model, progress.epoch)
    run.end_epoch(watched)
    return Report("epoch", progress.epoch, progress.step, values, run.best_epoch)


def _is_patience_over(run: Run) -> bool:
    patience, progress = run.spec.patience, run.progress
    finished = progress.epoch - 1
    return patience is not None and finished - progress.patience_epoch > patience
