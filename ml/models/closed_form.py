"""Members of a blend that are fitted at once: a constant and a linear model."""

import torch
from torch import Tensor

from ml.models.fitted import EncodedRows, FittedNetwork
from ml.models.linear_fits import Affine, affordable_rows, linear_fit
from ml.signature import Classes, Value


class Constant(FittedNetwork):
    """The mean of the training targets, or the logarithm of the share of each class."""

    value: Tensor

    def __init__(self, width: int, output: Value | Classes) -> None:
        super().__init__()
        self._width = width
        self._output = output
        self.register_buffer("value", torch.zeros(output.size))

    def fit_to(self, train: EncodedRows, validation: EncodedRows | None) -> None:
        """Compute the constant."""
        if isinstance(self._output, Value):
            self.value.copy_(train.targets.double().mean(0))
            return
        # A class without rows would have a logarithm of minus infinity.
        counts = train.targets.bincount(minlength=self._output.size) + 0.5
        self.value.copy_((counts / counts.sum()).log())

    def affine(self) -> Affine:
        """Return the constant as a linear model."""
        return Affine(
            self.value.new_zeros(self._width, len(self.value)).double(), self.value.double()
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs `(rows, size)`."""
        return self.value.expand(len(inputs), -1)


class LinearFit(FittedNetwork):
    """A linear model that is fitted at once; see `ml.models.linear_fits`."""

    weight: Tensor
    bias: Tensor

    def __init__(self, width: int, output: Value | Classes) -> None:
        super().__init__()
        self._output = output
        self.register_buffer("weight", torch.zeros(width, output.size))
        self.register_buffer("bias", torch.zeros(output.size))

    def fit_to(self, train: EncodedRows, validation: EncodedRows | None) -> None:
        """Fit the weights, to evenly spaced rows if all would take too long."""
        total, width = train.inputs.shape
        rows = affordable_rows(total, width, self._output)
        if not rows:
            return
        chosen = torch.arange(rows) * total // rows
        found = linear_fit(train.inputs[chosen], train.targets[chosen], self._output)
        if found is not None:
            self.weight.copy_(found.weights)
            self.bias.copy_(found.bias)

    def affine(self) -> Affine:
        """Return the linear model."""
        return Affine(self.weight.double(), self.bias.double())

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs `(rows, size)`."""
        return torch.addmm(self.bias, inputs, self.weight)

    def extra_repr(self) -> str:
        """Return the sizes."""
        width, size = self.weight.shape
        return f"{width} numbers in, {size} numbers out"
