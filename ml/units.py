"""Conversion between the outputs of a regression network and the units of its data."""

from torch import Tensor

from ml.signature import Value


def to_units(values: Tensor, output: Value) -> Tensor:
    """Convert a network's outputs or targets `(rows, 1)` to the units of the data: float64
    `(rows,)`."""
    return output.in_units(values.squeeze(1).double())


def from_units(values: Tensor, output: Value) -> Tensor:
    """Convert values `(rows,)` in the units of the data to a network's targets `(rows, 1)`."""
    return ((values - output.offset) / output.scale).float().unsqueeze(1)
