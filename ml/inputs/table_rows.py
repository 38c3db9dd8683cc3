"""Conversion of JSON table rows to the input array of a model of tables."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ml.errors import Invalid
from ml.inputs.rows import FLOAT32_MAX, count_of, describe, in_order
from ml.signature import UNKNOWN, Encoding, Features

ValueReader = Callable[[object], float]
"""Function from a JSON value to its raw number."""


class TableReader:
    """Reads rows of numbers, booleans and categories; null denotes a missing value.

    A category unseen in training is valid: it becomes `UNKNOWN`.
    """

    def __init__(self, features: Features) -> None:
        self._features = features
        encoding = features.encoding or Encoding(width=len(features.names))
        self._readers = [_reader(encoding, name) for name in features.names]

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
            try:
                numbers.append(math.nan if value is None else reader(value))
            except Invalid as error:
                place = names[column] if isinstance(row, Mapping) else column
                raise error.at(index, place) from None
        return numbers


def text_of(value: float | bool | str) -> str:
    """Return the category name of a value: `3` for 3.0, `true` for True."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).removesuffix(".0")


def _reader(encoding: Encoding, name: str) -> ValueReader:
    if name in encoding.booleans:
        return _boolean
    if name not in encoding.categories:
        return _number
    categories = encoding.categories[name]
    codes = {text: float(code) for code, text in enumerate(categories)}
    # 2.5 and true match categories that a file wrote as 2.50 and True.
    meanings = {_meaning(text): codes[text] for text in reversed(categories)}

    def category(value: object) -> float:
        if not isinstance(value, str | int | float):
            raise Invalid(f"must be a string, not {describe(value)}")
        if isinstance(value, int) and not abs(value) <= FLOAT32_MAX:
            return UNKNOWN
        code = codes.get(text_of(value))
        if code is None and not isinstance(value, str):
            code = meanings.get(_meaning(value))
        return UNKNOWN if code is None else code

    return category


def _meaning(value: float | bool | str) -> float | str:
    """Return the number of a value or of its text, else the text in lower case."""
    text = text_of(value)
    try:
        return float(text)
    except ValueError:
        return text.lower()


def _boolean(value: object) -> float:
    # True and 1 are equal, as are False and 0.
    if not isinstance(value, int | float) or value not in (0, 1):
        raise Invalid(f"must be true or false, not {describe(value)}")
    return float(value)


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Invalid(f"must be a number or null, not {describe(value)}")
    if not abs(value) <= FLOAT32_MAX:
        raise Invalid(f"must be a finite number of at most {FLOAT32_MAX:.3g}")
    return float(value)
