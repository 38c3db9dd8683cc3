"""Fitted curves of a regression of one feature, recorded at milestone epochs."""

import torch
from torch import Tensor, nn

from ml.datasets import Dataset
from ml.evaluation.metrics import outputs
from ml.signature import Features, Signature, Value

POINTS = 100
MILESTONES = (0, 50, 100, 150)


class FitCurves:
    """Curves of a run at its milestones; empty unless it is a regression of one number."""

    def __init__(self, data: Dataset, epochs: int) -> None:
        self.grid = grid(data) if has_curve(data.signature) else None
        """Feature values of the curves, `(POINTS, 1)`, over the range of the training rows."""
        self._wanted = milestones(epochs) if self.grid is not None else frozenset()
        self.curves: dict[int, Tensor] = {}
        """Predictions `(POINTS, 1)`, on the CPU, by number of completed epochs."""

    def record(self, model: nn.Module, epoch: int) -> None:
        """Record the curve of `model` after `epoch` epochs if that is a milestone."""
        if epoch in self._wanted and self.grid is not None:
            self.curves[epoch] = curve(model, self.grid)


def has_curve(signature: Signature) -> bool:
    """Return whether a model is a regression of one number."""
    inputs = signature.inputs
    return (
        isinstance(inputs, Features)
        and len(inputs.names) == len(inputs.numbers) == 1
        and not (inputs.encoding and inputs.encoding.booleans)
        and isinstance(signature.output, Value)
    )


def milestones(epochs: int) -> frozenset[int]:
    """Return the epochs of a run, besides the last, whose curves are recorded: those of the
    tutorial, or quarters of a shorter run."""
    if epochs > max(MILESTONES):
        return frozenset(MILESTONES)
    return frozenset(epochs * quarter // 4 for quarter in range(4))


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
