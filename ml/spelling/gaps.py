"""Missing values: the texts and numbers that stand for none."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ml.spelling.numbers import PLAIN, number_in

MISSING = (
    *("", "NA", "N/A", "NaN", "nan", "null", "None", "?"),
    *("NULL", "n/a", "<NA>", "#N/A", "#NA", "NaT", "-nan"),
)
"""Texts that mark a missing value unless a user names others."""
EARLIER_MISSING = MISSING[:8]
"""The same in data sets and models of versions that did not store them."""
ZEROS = ("", ".0", ".00", ".000")
"""Decimals that a program may add to a whole number that marks a missing value."""


@dataclass(frozen=True)
class Gaps:
    """The texts that mark a missing value. A blank text always does, and so does NaN.

    A text that is a number also stands for that number, however it is written: `-999` for `-999.0`.
    """

    texts: tuple[str, ...] = MISSING

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Gaps":
        """Return the gaps that are marked by `texts`, with or without white space around them."""
        return cls(tuple(dict.fromkeys(text.strip() for text in ("", *texts))))

    @cached_property
    def numbers(self) -> frozenset[float]:
        """Numbers that mark a missing value."""
        found = (number_in(text, PLAIN) for text in self.texts)
        return frozenset(number for number in found if number is not None)

    @cached_property
    def written(self) -> frozenset[str]:
        """All texts that mark a missing value, trimmed."""
        whole = [str(int(number)) for number in self.numbers if number.is_integer()]
        return frozenset({*self.texts, *(text + zeros for text in whole for zeros in ZEROS)})

    def trimmed(self, texts: Any) -> Any:
        """Return an array of texts without surrounding white space, null where one is a gap."""
        bare = pc.utf8_trim_whitespace(texts)
        is_gap = pc.is_in(bare, value_set=self._value_set)
        return _null_where(is_gap, bare, pa.scalar(None, bare.type))

    def without(self, numbers: Any) -> Any:
        """Return an array of integers or float64 with null for NaN and for numbers that are gaps.

        Columns of a file that holds numbers are compared before integers become float64.
        """
        null = pa.scalar(None, numbers.type)
        if pa.types.is_floating(numbers.type):
            numbers = _null_where(pc.is_nan(numbers), numbers, null)
        for gap in self.numbers:
            try:
                value = pa.scalar(gap, pa.float64()).cast(numbers.type)
            except pa.ArrowInvalid:  # no integer of this type
                continue
            numbers = _null_where(pc.equal(numbers, value), numbers, null)
        return numbers

    @cached_property
    def _value_set(self) -> Any:
        return pa.array(sorted(self.written), pa.string())


def _null_where(mask: Any, values: Any, null: Any) -> Any:
    return pc.if_else(mask, null, values) if pc.any(mask, min_count=0).as_py() else values
