"""Conversion between the outputs of a regression network and the units of its data."""

from torch import Tensor

from ml.signature import Value, Values


def to_units(values: Tensor, output: Value | Values) -> Tensor:
    """Convert a network's outputs or targets `(rows, size)` to the units of the data: float64
    `(rows, size)`."""
    return output.in_units(values.double())


def from_units(values: Tensor, output: Value | Values) -> Tensor:
    """Convert values `(rows, size)` in the units of the data to a network's targets, float32 of
    the same shape."""
    return output.on_scale(values).float()
