"""The training loop."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, nn

from ml import divergence
from ml.datasets import Dataset, Rows
from ml.evaluation import evaluate
from ml.losses import LOSSES
from ml.specs import TrainingSpec


class Stopped(Exception):
    """The run was asked to stop between two steps."""


@dataclass(frozen=True)
class Report:
    """Figures measured on the way.

    At level `step`: `loss`, the mean over the steps since the report before. At level `epoch`:
    `train_loss`, the mean over the epoch's rows, and the validation split's figures.
    """

    level: Literal["step", "epoch"]
    epoch: int
    step: int
    values: dict[str, float]


def resolve_device(name: str) -> torch.device:
    """Return the device a spec's `device` means on this machine; `auto` prefers a GPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def steps_per_epoch(spec: TrainingSpec, data: Dataset) -> int:
    """Return the number of optimisation steps in one epoch; the last batch may be smaller."""
    return math.ceil(len(data.train) / spec.batch_size)


def build(spec: TrainingSpec, data: Dataset) -> nn.Module:
    """Return the model at its start: fitted preprocessing, then a network whose initial weights
    are a function of the seed. Seeds every random generator of this process."""
    torch.manual_seed(spec.seed)
    model = nn.Sequential()
    model.add_module("preprocessing", data.preprocessing)
    model.add_module("network", spec.model.build(data.signature))
    return model


def shuffled(rows: Rows, batch_size: int, random: Generator) -> Iterator[Rows]:
    """Yield `rows` in batches, in an order drawn from `random`; the last may be smaller."""
    order = torch.randperm(len(rows), generator=random).to(rows.inputs.device)
    for index in torch.split(order, batch_size):
        yield rows.at(index)


def fit(
    model: nn.Module,
    data: Dataset,
    spec: TrainingSpec,
    device: torch.device,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Train `model` in place on `device`, yielding reports as they fall due.

    Raises:
        Diverged: the loss became NaN or infinite.
        Stopped: `stopping()` was true before a step.
    """
    model.to(device)
    train = data.train.to(device)
    validation = data.validation.to(device) if data.validation else None
    loss_of = LOSSES[spec.loss]
    optimizer = spec.optimizer.build(model.parameters())
    random = Generator().manual_seed(spec.seed)
    step = 0
    for epoch in range(1, spec.epochs + 1):
        model.train()
        epoch_loss, recent = 0.0, Mean()
        for batch in shuffled(train, spec.batch_size, random):
            if stopping():
                raise Stopped
            step += 1
            where = f"epoch {epoch}, step {step}"
            with torch.autograd.set_detect_anomaly(spec.detect_anomaly):
                loss = loss_of(model(batch.inputs), batch.targets)
                value = loss.item()
                if not math.isfinite(value):
                    raise divergence.diagnose(loss, model, batch.inputs, where)
                optimizer.zero_grad()
                divergence.backward(loss, where)
            optimizer.step()
            epoch_loss += value * len(batch)
            recent.add(value)
            if step % spec.report_every == 0:
                yield Report("step", epoch, step, {"loss": recent.take()})
        values = {"train_loss": epoch_loss / len(train)}
        if validation is not None:
            figures = evaluate(model, validation, data.signature, loss_of)
            values |= {f"validation_{name}": figure for name, figure in figures.items()}
        yield Report("epoch", epoch, step, values)


class Mean:
    """A running mean that starts afresh when it is taken."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, value: float) -> None:
        """Count `value` in."""
        self._sum += value
        self._count += 1

    def take(self) -> float:
        """Return the mean of what was added since the last call."""
        mean = self._sum / self._count
        self._sum, self._count = 0.0, 0
        return mean
