"""Fitted curves of a regression of one feature, recorded at some epochs, each with its loss."""

import torch
from torch import Tensor, nn

from ml.datasets import Dataset
from ml.evaluation.metrics import outputs
from ml.signature import Features, Signature, Value
from ml.specs import TrainingSpec
from ml.training.feature_sample import spaced

POINTS = 100
MILESTONES = (0, 50, 100, 150)
MAX_CURVES = 50
"""Maximum number of curves, besides the first and the last, that a spec may ask for."""
MAX_ROWS = 100_000
"""Maximum number of training rows of which the loss of a curve is the mean."""


class FitCurves:
    """Curves of a run after some of its epochs; empty unless it is a regression of one number."""

    def __init__(self, data: Dataset, spec: TrainingSpec) -> None:
        self.grid = grid(data) if has_curve(data.signature) else None
        """Feature values of the curves, `(POINTS, 1)`, over the range of the training rows."""
        self._spec = spec
        self._rows = data.train
        if self.grid is not None and len(data.train) > MAX_ROWS:
            self._rows = data.train.at(spaced(len(data.train), MAX_ROWS))
        self.curves: dict[int, Tensor] = {}
        """Predictions `(POINTS, 1)`, on the CPU, by number of completed epochs."""
        self.losses: dict[int, float] = {}
        """Losses of the training rows with these weights, by number of completed epochs."""

    def record(self, model: nn.Module, epoch: int) -> None:
        """Record the curve of `model` after `epoch` epochs if it is wanted."""
        if self.grid is not None and is_wanted(epoch, self._spec):
            self.add(model, epoch)

    def add(self, model: nn.Module, epoch: int) -> None:
        """Record the curve of `model` after `epoch` epochs."""
        assert self.grid is not None
        self.curves[epoch] = curve(model, self.grid)
        answers = outputs(model, self._rows.inputs).cpu()
        self.losses[epoch] = self._spec.loss.measure(answers, self._rows.targets.cpu()).item()


def has_curve(signature: Signature) -> bool:
    """Return whether a model is a regression of one number."""
    inputs = signature.inputs
    return (
        isinstance(inputs, Features)
        and len(inputs.names) == len(inputs.numbers) == 1
        and not (inputs.encoding and inputs.encoding.booleans)
        and isinstance(signature.output, Value)
    )


def is_wanted(epoch: int, spec: TrainingSpec) -> bool:
    """Return whether the curve after `epoch` epochs is recorded: every `snapshot_every` epochs, or
    by default those of the tutorial, or quarters of a shorter run."""
    if spec.snapshot_every is not None:
        return epoch % spec.snapshot_every == 0
    if spec.epochs > max(MILESTONES):
        return epoch in MILESTONES
    return epoch in [spec.epochs * quarter // 4 for quarter in range(4)]


def grid(data: Dataset) -> Tensor | None:
    """Return evenly spaced values of the one feature, over the range of the training rows; None if
    all are missing."""
    inputs = data.train.inputs
    known = inputs[~inputs.isnan()]
    if not len(known):
        return None
    low, high = known.min().item(), known.max().item()
    return torch.linspace(low, high, POINTS, dtype=inputs.dtype).unsqueeze(1)


def curve(model: nn.Module, grid: Tensor) -> Tensor:
    """Return the model's outputs at `grid`, on the CPU."""
    # A copy made here is not an inference tensor, so it can be part of a run's state.
    return outputs(model, grid).cpu().clone()
