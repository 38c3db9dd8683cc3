"""Observations about a column of numbers from which warnings follow, made batch by batch in bounded
memory and time."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE = 1024
"""Values that a sample of distinct values keeps."""
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio: Knuth, The Art of Computer Programming, 6.4."""


@dataclass
class DistinctSample:
    """Whether numbers repeat, told by all occurrences of a random share of the different values.

    The share halves whenever the sample is full: see Gibbons 2001, "Distinct sampling".
    """

    _kept: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    _level: int = 0
    repeats: bool = False

    def add(self, numbers: NDArray[np.float64]) -> None:
        """Add numbers without gaps."""
        if self.repeats:
            return
        kept = np.concatenate((self._kept, numbers[self._is_kept(numbers)]))
        self.repeats = _repeat(kept[:SAMPLE])
        while len(kept) > SAMPLE and not self.repeats:
            self._level += 1
            kept = kept[self._is_kept(kept)]
            self.repeats = _repeat(kept[:SAMPLE])
        self._kept = np.empty(0) if self.repeats else kept

    def are_different(self) -> bool:
        """Return whether nearly all numbers are different."""
        # Few different values can all be outside the share.
        return not self.repeats and (not self._level or len(self._kept) > SAMPLE // 8)

    def _is_kept(self, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
        if not self._level:
            return np.ones(len(numbers), np.bool_)
        hashes = np.ascontiguousarray(numbers, np.float64).view(np.uint64) * MULTIPLIER
        kept: NDArray[np.bool_] = hashes >> np.uint64(64 - self._level) == 0
        return kept


def _repeat(numbers: NDArray[np.float64]) -> bool:
    return len(np.unique(numbers)) < len(numbers)


@dataclass
class NumberClues:
    """Observations about a column of numbers."""

    rows: int = 0
    first: float | None = None
    """Value of the first row, while the rows so far count on from it by 1."""
    counts_up: bool = True
    whole: bool = True
    distinct: DistinctSample = field(default_factory=DistinctSample)

    def see(self, values: Any) -> None:
        """Add a batch of float64 values."""
        known = values.drop_null()
        numbers: NDArray[np.float64] = known.to_numpy(zero_copy_only=False)
        self._see_order(numbers, has_gaps=len(known) < len(values))
        self.whole = self.whole and bool((numbers == np.floor(numbers)).all())
        if self.whole:
            self.distinct.add(numbers)
        self.rows += len(values)

    def _see_order(self, numbers: NDArray[np.float64], has_gaps: bool) -> None:
        if not self.counts_up or not (len(numbers) or has_gaps):
            return
        if has_gaps:
            self.counts_up = False
            return
        if self.first is None:
            self.first = float(numbers[0])
        start = self.first + self.rows
        self.counts_up = numbers[-1] == start + len(numbers) - 1 and np.array_equal(
            numbers, np.arange(start, start + len(numbers))
        )
