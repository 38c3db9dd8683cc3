"""Conversion of JSON table rows to the input array of a model of tables."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.errors import Invalid
from ml.inputs.rows import FLOAT32_MAX, count_of, describe, in_order
from ml.signature import Encoding, Features
from ml.spelling import UNKNOWN, Categories, ColumnKind, Gaps, ValueReader
from ml.spelling.date_formats import FORMATS, ISO
from ml.spelling.values import READERS, date_category_reader

Scalar = str | float | bool
Places = NDArray[np.int64]
"""Row and feature of some values, `(values, 2)`."""
NOWHERE: Places = np.empty((0, 2), np.int64)
FEW_VALUES = 256
MAX_SHOWN = 200
"""Maximum number of characters of an unknown category in a response."""
WANTED: dict[ColumnKind, str] = {
    "numeric": "a number or null",
    "boolean": "true or false",
    "categorical": "a string",
}


class TableReader:
    """Reads rows of numbers, booleans, dates and categories, written as JSON values or as texts of
    the training data; null denotes a missing value.

    A category unseen in training is valid: it becomes `UNKNOWN`.
    """

    def __init__(self, features: Features) -> None:
        self._features = features
        encoding = features.encoding or Encoding(width=len(features.names))
        self._readers = value_readers(features)
        self._wanted = [_wanted(encoding, name) for name in features.names]
        self._gaps = Gaps.of(encoding.missing).numbers
        self._categorical = [i for i, n in enumerate(features.names) if n in encoding.categories]

    def rows(self, rows: Sequence[object]) -> NDArray[np.float64]:
        """Return `rows`, lists in the order of the features or objects keyed by feature name, as an
        array `(rows, features)`.

        Raises:
            Invalid: `rows` is empty, or a row has too few, too many or unknown values, or one of
                the wrong kind; `loc` is within `rows`.
        """
        if not rows:
            raise Invalid("is empty; give at least one row")
        array = np.empty((len(rows), len(self._readers)))
        for index, row in enumerate(rows):
            array[index] = self._row(row, index)
        return array

    def array(self, array: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Return an array of numbers `(rows, features)` with NaN for those that are gaps."""
        for gap in self._gaps:
            is_gap = array == gap
            if is_gap.any():
                array = np.where(is_gap, math.nan, array)
        return array

    def unknown(self, array: NDArray[Any]) -> Places:
        """Return where an array that `rows` returned has unknown categories, row by row."""
        if not self._categorical:
            return NOWHERE
        # A list is searched in a fraction of the time of a small array.
        if UNKNOWN not in (array.ravel().tolist() if array.size <= FEW_VALUES else array):
            return NOWHERE
        places = np.argwhere(array[:, self._categorical] == UNKNOWN)
        places[:, 1] = np.take(self._categorical, places[:, 1])
        return places

    def values(self, row: object, features: Iterable[int]) -> dict[str, Scalar]:
        """Return values of a row that `rows` reads by the names of their `features`."""
        names = self._features.names
        found: dict[str, Scalar] = {}
        for index in features:
            value: Any = row[names[index] if isinstance(row, Mapping) else index]  # type: ignore[index]
            found[names[index]] = _shown(value)
        return found

    def _row(self, row: object, index: int) -> list[float]:
        names = self._features.names
        values = in_order(self._features, row, index) if isinstance(row, Mapping) else row
        if not isinstance(values, list) or len(values) != len(names):
            given = f"{len(values)} values" if isinstance(values, list) else describe(row)
            raise Invalid(
                f"must be a row of {count_of(names)}, with null for missing values, not {given}",
                (index,),
            )
        numbers = []
        for column, (value, reader) in enumerate(zip(values, self._readers, strict=True)):
            number = math.nan if value is None else reader(value)
            if number is None or abs(number) > FLOAT32_MAX:
                place = names[column] if isinstance(row, Mapping) else column
                raise Invalid(self._fault(column, value, number), (index, place))
            numbers.append(number)
        return numbers

    def _fault(self, column: int, value: object, number: float | None) -> str:
        if number is not None:
            return f"must be a finite number of at most {FLOAT32_MAX:.3g}"
        return f"must be {self._wanted[column]}, not {describe(value)}"


def _shown(value: Scalar) -> Scalar:
    """Return a value of a request for its response, if it is long, its beginning."""
    if isinstance(value, str):
        return value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}…"
    if isinstance(value, int) and value.bit_length() > 63:
        return f"about 2^{value.bit_length()}"
    return value


def value_readers(features: Features) -> list[ValueReader]:
    """Return the function that reads the values of each feature of a table."""
    encoding = features.encoding or Encoding(width=len(features.names))
    gaps = Gaps.of(encoding.missing)
    return [_reader(encoding, name, gaps) for name in features.names]


def _wanted(encoding: Encoding, name: str) -> str:
    """Return the values that a feature takes, in words."""
    spelling = encoding.spelling(name)
    if spelling.kind == "date":
        form = FORMATS[spelling.date]
        return f"a date like {form}" + ("" if form == ISO else f" or {ISO.example}")
    return WANTED["categorical" if name in encoding.categories else spelling.kind]


def _reader(encoding: Encoding, name: str, gaps: Gaps) -> ValueReader:
    spelling = encoding.spelling(name)
    if name not in encoding.categories:
        return READERS[spelling.kind](spelling, gaps)
    if spelling.kind == "date":
        return date_category_reader(spelling, gaps, encoding.categories[name])
    notation = spelling.notation if spelling.kind == "numeric" else None
    return Categories(encoding.categories[name], gaps, notation).code
