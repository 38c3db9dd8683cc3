"""Between the numbers that a regression's network computes and the units of its data."""

from torch import Tensor

from ml.signature import Value


def to_units(values: Tensor, output: Value) -> Tensor:
    """Return a network's answers or targets `(rows, 1)` in the units of the data: float64
    `(rows,)`."""
    return output.in_units(values.squeeze(1).double())


def from_units(values: Tensor, output: Value) -> Tensor:
    """Return values `(rows,)` in the units of the data as the targets `(rows, 1)` of a network."""
    return ((values - output.offset) / output.scale).float().unsqueeze(1)
