"""Single values of a request: JSON values, which may be texts as a file has them."""

import math
from collections.abc import Callable, Mapping

from ml.spelling.booleans import boolean_in
from ml.spelling.gaps import Gaps
from ml.spelling.numbers import number_in
from ml.spelling.spelling import ColumnKind, Spelling

ValueReader = Callable[[object], float | None]
"""Function from a JSON value to its number: NaN for a gap, None for a value that is none of the
column's kind."""


def number_reader(spelling: Spelling, gaps: Gaps) -> ValueReader:
    """Return the reader of numbers, which are JSON numbers or texts in the column's notation. It
    does not limit their size."""
    notation, numbers, texts = spelling.notation, gaps.numbers, gaps.written

    def read(value: object) -> float | None:
        number: float | None
        if type(value) is float or type(value) is int:
            try:
                number = float(value)
            except OverflowError:
                return math.copysign(math.inf, value)
        elif isinstance(value, str):
            text = value.strip()
            if text in texts:
                return math.nan
            number = number_in(text, notation)
        else:
            return None
        return math.nan if number in numbers else number

    return read


def boolean_reader(_: Spelling, gaps: Gaps) -> ValueReader:
    """Return the reader of booleans, which are true, false, 1, 0, or texts."""
    texts = gaps.written

    def read(value: object) -> float | None:
        if isinstance(value, bool):
            return float(value)
        if isinstance(value, int | float):
            if value != value or value in gaps.numbers:
                return math.nan
            return float(value) if value in (0, 1) else None
        if not isinstance(value, str):
            return None
        text = value.strip()
        if text in texts:
            return math.nan
        truth = boolean_in(text)
        return None if truth is None else float(truth)

    return read


READERS: Mapping[ColumnKind, Callable[[Spelling, Gaps], ValueReader]] = {
    "numeric": number_reader,
    "boolean": boolean_reader,
}
"""Readers of the kinds that are numbers to a model; categories have `Categories.code`."""
