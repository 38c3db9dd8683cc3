"""Histogram of values, with round edges."""

import math

import numpy as np
from torch import Tensor

from ml.evaluation.schemas import Histogram

MAX_BARS = 30
"""Bars of a histogram, at most; the number is about the square root of the number of values."""
STEPS = (1, 2, 2.5, 5, 10)
"""Widths of bars, times a power of 10."""

TINY, HUGE = 1e-300, 1e300
"""Widths beyond which multiples could underflow or overflow."""


def histogram(values: Tensor) -> Histogram | None:
    """Return the histogram of float64 `values` `(rows,)`: edges are multiples of a round width, and
    0 is one of them, so that no bar has values of both signs. None if a value is not finite."""
    low, high = values.min().item(), values.max().item()
    if not math.isfinite(high - low):
        return None
    edges = round_edges(low, high, min(MAX_BARS, math.ceil(math.sqrt(len(values)))))
    counts, _ = np.histogram(values.numpy(), edges)
    return Histogram(edges=edges, counts=counts.tolist())


def round_edges(low: float, high: float, bars: int) -> list[float]:
    """Return ascending edges of up to `bars` + 1 bars that cover `low` to `high`."""
    if low == high:
        half = abs(low) / 2 or 0.5
        return [low - half, high + half]
    wanted = (high - low) / bars
    edges = _multiples(low, high, _round_width(wanted)) if TINY < wanted < HUGE else []
    # Beside values that are large for their spread, multiples of a width are not exact.
    is_exact = edges and edges[0] <= low and high <= edges[-1] and len(set(edges)) == len(edges)
    return edges if is_exact else np.linspace(low, high, bars + 1).tolist()


def _round_width(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return power * next(step for step in STEPS if step * power >= least)


def _multiples(low: float, high: float, width: float) -> list[float]:
    first, last = math.floor(low / width), math.ceil(high / width)
    # Twelve digits leave out the rounding of the product: 0.3 rather than 0.30000000000000004.
    return [float(f"{index * width:.12g}") for index in range(first, last + 1)]
