"""Losses with the gradient of the outputs, for manual backpropagation.

They equal autograd's bit for bit, since they call the same functions.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from ml.losses import HuberSpec, LossName, SoftCrossEntropy
from ml.training.engines.base import Batch, SideStream
from ml.training.run import Run

aten = torch.ops.aten


class LossLayer(ABC):
    """The loss and the gradient of a step's outputs; the loss may run on the side stream."""

    def aims(self, targets: Tensor, rows: int) -> Iterator[Tensor]:
        """Yield the part of the gradient that depends on the targets, per batch of `rows`."""
        yield from torch.split(targets, rows)

    @abstractmethod
    def __call__(self, outputs: Tensor, batch: Batch, aim: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss `()` and the gradient of the outputs."""


class ValueLoss(LossLayer):
    """The mean loss of a regression."""

    def __init__(self, run: Run, side_stream: SideStream) -> None:
        self._loss, loss = run.loss_of, run.spec.loss
        self._gradient = VALUE_GRADIENTS[loss.kind]
        self._delta = loss.delta if isinstance(loss, HuberSpec) else math.inf
        self._side_stream = side_stream

    def __call__(self, outputs: Tensor, batch: Batch, aim: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the gradient."""
        with self._side_stream:
            loss = self._loss(outputs, batch.targets)
        error = outputs - aim
        return loss, self._gradient(error, self._delta).mul_(1 / error.numel())


VALUE_GRADIENTS: dict[LossName, Callable[[Tensor, float], Tensor]] = {
    "mse": lambda error, _: error.mul_(2),
    "mae": lambda error, _: error.sign_(),
    "huber": lambda error, delta: error.clamp_(-delta, delta),
}
"""Map a batch's errors, and the delta of huber, to the gradient of their summed losses, in place.
"""


class CrossEntropy(LossLayer):
    """The mean negative log-likelihood of the actual classes."""

    def __init__(self, classes: int, side_stream: SideStream) -> None:
        self._classes = classes
        self._side_stream = side_stream
        # Kept for the whole run, since graphs read them.
        self._right_classes: dict[int, Tensor] = {}

    def aims(self, targets: Tensor, rows: int) -> Iterator[Tensor]:
        """Yield the gradient of the loss with respect to the log-probabilities."""
        if rows not in self._right_classes:
            right = torch.eye(self._classes, device=targets.device)
            self._right_classes[rows] = right.div_(-rows)
        yield from torch.split(self._right_classes[rows].index_select(0, targets), rows)

    def __call__(self, outputs: Tensor, batch: Batch, aim: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the gradient."""
        # Kept alive until the side stream has read it.
        self._logs = logs = torch.log_softmax(outputs, 1)
        with self._side_stream:
            loss = functional.nll_loss(logs, batch.targets)
        return loss, aten._log_softmax_backward_data(aim, logs, 1, logs.dtype)


class SoftClasses(LossLayer):
    """The cross-entropy of weighted or smoothed classes."""

    def __init__(self, loss: SoftCrossEntropy, side_stream: SideStream) -> None:
        self._loss = loss
        self._side_stream = side_stream

    def aims(self, targets: Tensor, rows: int) -> Iterator[Tensor]:
        """Yield the soft targets."""
        yield from torch.split(self._loss.soft_targets(targets), rows)

    def __call__(self, outputs: Tensor, batch: Batch, aim: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the gradient."""
        # Kept alive until the side stream has read it, as the soft targets are by their iterator.
        self._logs = logs = torch.log_softmax(outputs, 1)
        with self._side_stream:
            loss = self._loss.of_logs(logs, aim)
        gradient = aim * (1 / -len(logs))
        return loss, aten._log_softmax_backward_data(gradient, logs, 1, logs.dtype)


def loss_layer(run: Run, classes: int, side_stream: SideStream) -> LossLayer:
    """Return the loss of a run's spec; `classes` is the number of outputs."""
    if isinstance(run.loss_of, SoftCrossEntropy):
        return SoftClasses(run.loss_of, side_stream)
    if run.spec.loss.kind == "cross_entropy":
        return CrossEntropy(classes, side_stream)
    return ValueLoss(run, side_stream)
