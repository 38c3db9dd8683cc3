"""The curve that a regression of one feature draws through its data, kept from some epochs."""

import torch
from torch import Tensor, nn

from ml.datasets import Dataset
from ml.evaluation.metrics import outputs
from ml.signature import Features, Signature, Value

POINTS = 100
MILESTONES = (0, 50, 100, 150)


class FitCurves:
    """The curves of a run at its milestones. Runs of other data have none."""

    def __init__(self, data: Dataset, epochs: int) -> None:
        self.grid = grid(data) if has_curve(data.signature) else None
        """Where the curves are taken `(POINTS, 1)`, from the least to the greatest training row."""
        self._wanted = milestones(epochs) if self.grid is not None else frozenset()
        self.curves: dict[int, Tensor] = {}
        """Answers `(POINTS, 1)`, on the CPU, by how many epochs were done."""

    def record(self, model: nn.Module, epoch: int) -> None:
        """Keep the curve of `model`, which has done `epoch` epochs, if that is a milestone."""
        if epoch in self._wanted and self.grid is not None:
            self.curves[epoch] = curve(model, self.grid)


def has_curve(signature: Signature) -> bool:
    """Return whether a model is a regression of one feature."""
    inputs = signature.inputs
    return (
        isinstance(inputs, Features)
        and len(inputs.names) == len(inputs.numbers) == 1
        and isinstance(signature.output, Value)
    )


def milestones(epochs: int) -> frozenset[int]:
    """Return after which epochs of a run, beside the last, a curve is kept: those of the tutorial,
    or the quarters of a run that is too short for them."""
    if epochs > max(MILESTONES):
        return frozenset(MILESTONES)
    return frozenset(epochs * quarter // 4 for quarter in range(4))


def grid(data: Dataset) -> Tensor:
    """Return evenly spaced values of the one feature, over the range of the training rows."""
    inputs = data.train.inputs
    known = inputs[~inputs.isnan()]
    low, high = known.min().item(), known.max().item()
    return torch.linspace(low, high, POINTS, dtype=inputs.dtype).unsqueeze(1)


def curve(model: nn.Module, grid: Tensor) -> Tensor:
    """Return the model's answers at `grid`, on the CPU."""
    # A copy made here is an ordinary tensor, which can be kept with the rest of a run's state.
    return outputs(model, grid).cpu().clone()
