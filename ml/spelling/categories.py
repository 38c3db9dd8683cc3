"""Categories: their names, and the values that find them."""

import math
from collections.abc import Hashable, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from ml.spelling.booleans import boolean_in
from ml.spelling.gaps import Gaps
from ml.spelling.numbers import MAX_NUMBER, Notation, number_in

UNKNOWN = -1
"""Code of a category that is absent from the training rows."""
MAX_BITS = 128
"""Maximum size of an integer that can be a category."""
Key = TypeVar("Key", bound=Hashable)


def text_of(value: float | bool | str) -> str:
    """Return the name of a value as a category; of one that was not written as a text, `3` for 3.0
    and `true` for True."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).removesuffix(".0")


class Categories:
    """The categories of a feature, found by values of files and requests.

    A value belongs to the category of its name. Failing that, a text is looked up without the white
    space around it, and a whole number by its size: 1234 and "1234.0" find `01234`. Other numbers
    are looked up by size unless they are texts: "1.1" is not the version `1.10`, but 1.1 is. If
    the column holds numbers, its `notation` says how texts are written, and all are looked up by
    size. A size that several categories share finds none of them.
    """

    def __init__(self, names: Sequence[str], gaps: Gaps, notation: Notation | None = None) -> None:
        self._codes = {name: float(code) for code, name in enumerate(names)}
        self._gaps = gaps
        self._notation = notation
        self._sizes = _unique((self._size(name), code) for name, code in self._codes.items())
        only_truths = all(boolean_in(name) is not None for name in names)
        self._truths = _unique(
            (boolean_in(name), code)
            for name, code in self._codes.items()
            if only_truths or name.lower() in ("true", "false")
        )

    def code(self, value: object) -> float | None:
        """Return the index of the category of a value, `UNKNOWN` if there is none, and NaN for a
        gap; None for a value that cannot be a category, such as a list."""
        if isinstance(value, str):
            code = self._codes.get(value)
            return self._code_of_text(value.strip()) if code is None else code
        if not isinstance(value, int | float):
            return None
        if value != value:
            return math.nan
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            return UNKNOWN
        text = text_of(value)
        if self._notation is None or isinstance(value, bool):
            code = self._codes.get(text)
            if code is not None:
                return code
        if text in self._gaps.written or value in self._gaps.numbers:
            return math.nan
        if isinstance(value, bool):
            return self._truths.get(value, UNKNOWN)
        size = _decimal(text) if self._notation is None else float(value)
        return self._sizes.get(size, UNKNOWN)

    def _code_of_text(self, text: str) -> float:
        code = self._codes.get(text)
        if code is not None:
            return code
        if text in self._gaps.written:
            return math.nan
        size = self._size(text)
        if size is None or (self._notation is None and size != round(size)):
            return UNKNOWN
        if self._notation is not None and size in self._gaps.numbers:
            return math.nan
        return self._sizes.get(size, UNKNOWN)

    def _size(self, text: str) -> Decimal | float | None:
        """Return the number that a text is. Integers beyond 2^53 keep their identity, except in
        columns of numbers, which are float64."""
        return _decimal(text) if self._notation is None else number_in(text, self._notation)


def _decimal(text: str) -> Decimal | None:
    number = number_in(text) if len(text) <= MAX_NUMBER else None
    if number is None or math.isinf(number):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond all bounds
        return None


def _unique(codes: Iterable[tuple[Key | None, float]]) -> dict[Key, float]:
    """Return the codes by key, without keys that are None or have several codes."""
    found: dict[Key, float] = {}
    several: set[Key] = set()
    for key, code in codes:
        if key is None:
            continue
        if key in found:
            several.add(key)
        found[key] = code
    return {key: code for key, code in found.items() if key not in several}
