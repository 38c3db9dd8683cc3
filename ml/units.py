"""Conversion between the outputs of a regression network and the units of its data."""

import math
from collections.abc import Sequence

from torch import Tensor

from ml.preprocessing import moments
from ml.signature import Value, Values, regression


def fit_units(names: Sequence[str], targets: Tensor) -> Value | Values:
    """Return the output whose network's targets have mean 0 and standard deviation 1: those of
    `names`, whose values in the units of the data are the columns of `targets` `(rows, size)`. One
    that does not vary is not scaled."""
    means, deviations = (moment.tolist() for moment in moments(targets))
    return regression(
        [
            Value(name=name, offset=mean, scale=deviation if math.isfinite(deviation) else 1.0)
            for name, mean, deviation in zip(names, means, deviations, strict=True)
        ]
    )


def to_units(values: Tensor, output: Value | Values) -> Tensor:
    """Convert a network's outputs or targets `(rows, size)` to the units of the data: float64
    `(rows, size)`."""
    return output.in_units(values.double())


def from_units(values: Tensor, output: Value | Values) -> Tensor:
    """Convert values `(rows, size)` in the units of the data to a network's targets, float32 of
    the same shape."""
    return output.on_scale(values).float()
