"""Single values of a request: JSON values, which may be texts as a file has them."""

import math
from collections.abc import Callable, Mapping, Sequence

from ml.spelling.booleans import boolean_in
from ml.spelling.categories import UNKNOWN
from ml.spelling.date_formats import FORMATS, ISO
from ml.spelling.dates import days, instant, instant_of_number, iso
from ml.spelling.gaps import Gaps
from ml.spelling.numbers import number_in
from ml.spelling.spelling import ColumnKind, Spelling

ValueReader = Callable[[object], float | None]
"""Function from a JSON value to its number: NaN for a gap, None for a value that is none of the
column's kind."""

MAX_COUNT = 1e18
"""Numbers from here on count to no date in any unit."""


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


InstantReader = Callable[[object], float | int | None]


def instant_reader(spelling: Spelling, gaps: Gaps) -> InstantReader:
    """Return the function from a JSON value to its instant: NaN for a gap, None for a value that is
    none. Dates are texts in the format of `spelling` or in ISO 8601, or numbers where the format
    counts from 1970."""
    form, texts = FORMATS[spelling.date], gaps.written

    def read(value: object) -> float | int | None:
        if isinstance(value, str):
            text = value.strip()
            if text in texts:
                return math.nan
            found = instant(text, form)
            return instant(text, ISO) if found is None else found
        if type(value) is not float and type(value) is not int:
            return None
        if value != value or value in gaps.numbers:
            return math.nan
        if form.unit is None or not abs(value) < MAX_COUNT:
            return None
        return instant_of_number(value, form.unit)

    return read


def date_reader(spelling: Spelling, gaps: Gaps) -> ValueReader:
    """Return the reader of dates, as days since 1970-01-01 in UTC."""
    read_instant = instant_reader(spelling, gaps)

    def read(value: object) -> float | None:
        found = read_instant(value)
        return days(found) if isinstance(found, int) else found

    return read


def date_category_reader(spelling: Spelling, gaps: Gaps, names: Sequence[str]) -> ValueReader:
    """Return the reader of dates that are categories, whose `names` are in ISO 8601."""
    read_instant = instant_reader(spelling, gaps)
    codes = {name: float(code) for code, name in enumerate(names)}

    def read(value: object) -> float | None:
        found = read_instant(value)
        return codes.get(iso(found), UNKNOWN) if isinstance(found, int) else found

    return read


READERS: Mapping[ColumnKind, Callable[[Spelling, Gaps], ValueReader]] = {
    "numeric": number_reader,
    "boolean": boolean_reader,
    "date": date_reader,
}
"""Readers of the kinds that are numbers to a model; categories have `Categories.code`."""
