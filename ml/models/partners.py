"""Partners of a blend: models that are fitted at once, and know how well they do on other rows."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ml import trees
from ml.datasets.splits import evenly_spaced
from ml.models.fitted import EncodedRows
from ml.models.linear_fits import Affine, affordable_rows, linear_fit
from ml.signature import Classes, Output

FOLDS = 5
HALF_A_ROW = 0.5


class Partner(nn.Module, ABC):
    """A model fitted at once, whose weights are buffers; before, they are 0."""

    @abstractmethod
    def fit_across(self, rows: EncodedRows) -> Tensor:
        """Fit the model to `rows`, which are on the CPU; return the outputs `(rows, size)` for each
        of models that were not fitted to it."""

    @abstractmethod
    def shift(self, by: Tensor) -> None:
        """Add `by` `(size,)` to the outputs of every row."""

    def affine(self) -> Affine | None:
        """Return the model as a linear one, float64; None if it is none."""
        return None


class Constant(Partner):
    """The mean of each training target, or the logarithm of the share of each class."""

    value: Tensor

    def __init__(self, width: int, output: Output) -> None:
        super().__init__()
        self._width = width
        self._output = output
        self.register_buffer("value", torch.zeros(output.size))

    def fit_across(self, rows: EncodedRows) -> Tensor:
        """Compute the constant; those of held-out rows are of all rows but one."""
        targets = rows.targets.double()
        if not isinstance(self._output, Classes):
            self.value.copy_(targets.mean(0))
            others = (targets.sum(0) - targets) / max(1, len(targets) - 1)
            return others.float()
        actual = one_hot(rows.targets, self._output.size).double()
        # A class without rows would have a logarithm of minus infinity.
        counts = actual.sum(0) + HALF_A_ROW
        self.value.copy_((counts / counts.sum()).log())
        return (counts - actual).div(counts.sum() - 1).log().float()

    def shift(self, by: Tensor) -> None:
        """Change the constant."""
        self.value += by

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs `(rows, size)`."""
        return self.value.expand(len(inputs), -1)

    def affine(self) -> Affine:
        """Return the constant as a linear model."""
        weights = torch.zeros(self._width, len(self.value), dtype=torch.float64)
        return Affine(weights, self.value.double())


class LinearFit(Partner):
    """A ridge or logistic regression; see `ml.models.linear_fits`."""

    weight: Tensor
    bias: Tensor

    def __init__(self, width: int, output: Output) -> None:
        super().__init__()
        self._output = output
        self.register_buffer("weight", torch.zeros(width, output.size))
        self.register_buffer("bias", torch.zeros(output.size))

    def fit_across(self, rows: EncodedRows) -> Tensor:
        """Fit the weights, to evenly spaced rows if all would take too long."""
        held_out = torch.zeros(len(rows.inputs), self._output.size)
        fold_of_row = trees.fold_of(rows.targets, FOLDS, seed=0)
        for fold in range(FOLDS):
            held = fold_of_row == fold
            self._fit(rows.inputs[~held], rows.targets[~held])
            held_out[held] = self(rows.inputs[held])
        self._fit(*rows)
        return held_out

    def shift(self, by: Tensor) -> None:
        """Change the bias."""
        self.bias += by

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs `(rows, size)`."""
        return torch.addmm(self.bias, inputs, self.weight)

    def affine(self) -> Affine:
        """Return the linear model."""
        return Affine(self.weight.double(), self.bias.double())

    def extra_repr(self) -> str:
        """Return the sizes."""
        width, size = self.weight.shape
        return f"{width} numbers in, {size} numbers out"

    def _fit(self, inputs: Tensor, targets: Tensor) -> None:
        total, width = inputs.shape
        if not (rows := affordable_rows(total, width, self._output)):
            return
        chosen = evenly_spaced(total, rows)
        found = linear_fit(inputs[chosen], targets[chosen], self._output)
        if found is not None:
            self.weight.copy_(found.weights)
            self.bias.copy_(found.bias)


class Trees(Partner):
    """Boosted trees; see `ml.trees`. Of few rows or very many classes none are grown, and the
    outputs are 0."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._classes = output.size if isinstance(output, Classes) else None
        self.forest = trees.Forest(output.size, is_binary=self._classes == 2)

    def fit_across(self, rows: EncodedRows) -> Tensor:
        """Grow the trees, from evenly spaced rows if all would take too long."""
        total, width = rows.inputs.shape
        count = trees.affordable_rows(total, width, len(self.forest.base))
        if not count:
            return self.forward(rows.inputs)
        chosen = evenly_spaced(total, count)
        grown = trees.grow(rows.inputs[chosen], rows.targets[chosen], self._classes)
        self.forest = grown.forest
        held_out = self.forward(rows.inputs)
        held_out[chosen] = grown.held_out
        return held_out

    def shift(self, by: Tensor) -> None:
        """Change the base."""
        self.forest.base += by

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs `(rows, size)`."""
        outputs: Tensor = self.forest(inputs)
        return outputs
