"""Columns of Arrow's types: how each is read, and whether a model can learn from it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ml.errors import Invalid
from ml.ingest.names import shown
from ml.ingest.options import ColumnKind
from ml.ingest.schema import MAX_CATEGORIES
from ml.ingest.table_writer import FLOAT32_MAX, NUMBER, trimmed

EXACT = 2**53
"""Magnitude up to which float64 holds every whole number."""
WHOLE = r"^[+-]?[0-9]+$"
MAX_TYPE = 60
"""Characters of a type that messages show."""
MAX_EXPONENT = 400
"""Largest power of ten of a number that marks a missing value; no type has larger ones."""
MOSTLY = 0.9
"""Share of numbers from which the other texts of a column are errors, not categories."""
FEW_ROWS = 20
"""Number of known texts below which `MOSTLY` is not applied."""
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""Length of Arrow's units of time."""
TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
SPANS = (pa.types.is_time, pa.types.is_duration)
USABLE: tuple[Callable[[Any], bool], ...] = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    *TEXTS,
    *SPANS,
)
"""Tests for the types of columns that can be read."""


def is_usable(kind: Any) -> bool:
    """Return whether columns of an Arrow type can be read."""
    return _is(kind.value_type if is_category(kind) else kind, USABLE)


def is_category(kind: Any) -> bool:
    """Return whether the type itself says that the values of a column are categories."""
    return bool(pa.types.is_dictionary(kind))


def is_span(kind: Any) -> bool:
    """Return whether columns of an Arrow type are durations or times of day."""
    return _is(kind, SPANS)


def _is(kind: Any, tests: Sequence[Callable[[Any], bool]]) -> bool:
    return any(test(kind) for test in tests)


def type_name(kind: Any) -> str:
    """Return an Arrow type as shown in messages."""
    name = str(kind)
    return name if len(name) <= MAX_TYPE else f"{name[:MAX_TYPE]}..."


def plain(column: Any, missing: Sequence[str]) -> Any:
    """Return a column as booleans, trimmed texts or numbers, without encodings, null where
    missing. Durations and times of day become seconds."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is(column.type, TEXTS):
        return trimmed(pc.cast(column, pa.string()), missing)
    if pa.types.is_boolean(column.type):
        return column
    if pa.types.is_float16(column.type):
        column = pc.cast(column, pa.float32())
    elif is_span(column.type):
        unit = SECONDS[column.type.unit]
        ticks = pc.cast(column, pa.int32() if pa.types.is_time32(column.type) else pa.int64())
        column = pc.multiply(pc.cast(ticks, pa.float64(), safe=False), unit)
    marks = [mark for text in missing if (mark := _as_number(text, column.type)) is not None]
    if not marks:
        return column
    is_missing = pc.is_in(column, value_set=pa.array(marks, column.type))
    return pc.if_else(is_missing, pa.scalar(None, column.type), column)


def as_text(column: Any) -> Any:
    """Return whole decimals as texts of all their digits, and any other column as it is."""
    if pa.types.is_decimal(column.type) and column.type.scale == 0:
        return pc.cast(column, pa.string())
    return column


def _as_number(text: str, kind: Any) -> int | float | Decimal | None:
    """Return the value of the numeric type `kind` that `text` stands for, if there is one."""
    text = text.strip()
    if pa.types.is_floating(kind):
        is_number = re.match(NUMBER, text) or text.lower().lstrip("+-") in ("inf", "infinity")
        return float(text) if is_number else None
    if not re.match(NUMBER, text):
        return None
    number = Decimal(text)
    if abs(number.adjusted()) > MAX_EXPONENT:
        return None
    value = number if pa.types.is_decimal(kind) else int(number)
    try:
        # No value of the column equals a number that its type does not have.
        return value if value == number and pa.scalar(value, kind).is_valid else None
    except (pa.ArrowInvalid, OverflowError):
        return None


@dataclass
class Scan:
    """Inference of a column's kind from its values so far, in the form of `plain`."""

    name: str
    is_category: bool
    """Whether the file itself says that the values are categories."""
    first_row: int
    rows: int = 0
    known: int = 0
    numbers: int = 0
    """Number of texts that are numbers."""
    truths: int = 0
    is_boolean: bool = False
    is_text: bool = False
    odd: str | None = None
    """Row and text of the first text that is not a number."""
    too_large: str | None = None
    """Row and value of the first number that is infinite or beyond float32."""
    is_exact: bool = True
    """Whether no whole number is beyond `EXACT`."""
    distinct: set[Any] | None = field(default_factory=set)
    """Different whole numbers, or texts; None if there are over `MAX_CATEGORIES`."""

    def see(self, values: Any) -> None:
        """Add the values of a batch."""
        self.known += len(values) - values.null_count
        self.is_boolean = pa.types.is_boolean(values.type)
        self.is_text = pa.types.is_string(values.type)
        if self.is_text:
            self._see_texts(values)
        elif not self.is_boolean:
            self._see_numbers(values)
        self.rows += len(values)

    def _see_texts(self, texts: Any) -> None:
        is_number = pc.match_substring_regex(texts, NUMBER)
        self.numbers += pc.sum(is_number).as_py() or 0
        truths = pc.is_in(pc.utf8_lower(texts), value_set=pa.array(["true", "false"]))
        self.truths += pc.sum(truths).as_py() or 0
        if self.odd is None and (index := pc.index(is_number, False).as_py()) >= 0:
            self.odd = self._place(texts, index)
        if self.odd is None:
            numbers = pc.cast(pc.replace_substring_regex(texts, r"^\+", ""), pa.float64())
            self._see_numbers(numbers)
            is_long = pc.greater_equal(pc.abs(numbers), EXACT)
            is_whole = pc.match_substring_regex(texts, WHOLE)
            self.is_exact &= not pc.any(pc.and_(is_long, is_whole)).as_py()
            self._see_distinct(texts)

    def _see_numbers(self, numbers: Any) -> None:
        if not pa.types.is_floating(numbers.type):
            self._see_whole(numbers)
        size = pc.abs(pc.cast(numbers, pa.float64(), safe=False))
        is_large = pc.and_(pc.greater(size, FLOAT32_MAX), pc.invert(pc.is_nan(size)))
        if self.too_large is None and (index := pc.index(is_large, True).as_py()) >= 0:
            self.too_large = self._place(numbers, index)

    def _see_whole(self, numbers: Any) -> None:
        extremes = pc.min_max(numbers).as_py()
        if extremes["max"] is not None:
            self.is_exact &= max(-extremes["min"], extremes["max"]) <= EXACT
        self._see_distinct(numbers)

    def _see_distinct(self, values: Any) -> None:
        if self.distinct is None:
            return
        found = pc.unique(values).drop_null()
        if len(found) <= MAX_CATEGORIES:
            self.distinct.update(found.to_pylist())
        if max(len(found), len(self.distinct)) > MAX_CATEGORIES:
            self.distinct = None

    def _place(self, values: Any, index: int) -> str:
        place = f"row {self.first_row + self.rows + index}, column {self.name!r}"
        return f"{place}: {shown(values[index].as_py())}"

    def kind(self) -> ColumnKind:
        """Return the kind of the column.

        Raises:
            Invalid: no model can learn from it as it is.
        """
        if self.is_boolean or (self.is_text and self.known and self.truths == self.known):
            return "boolean"
        if self.is_category:
            return "categorical"
        if self.is_text and self.odd is not None:
            self._check_spelling(self.odd)
            return "categorical"
        if self.too_large is not None:
            raise Invalid(
                f"{self.too_large} is not a finite number of at most {FLOAT32_MAX:.3g}; add it to "
                "`missing` if it stands for none"
            )
        if self.is_exact:
            return "numeric"
        if self.distinct is None:
            raise Invalid(
                f"the column {self.name!r} has whole numbers beyond 2^53, which are not exact as "
                f"numbers, and over {MAX_CATEGORIES:,} different ones, too many for categories; "
                "add it to `numeric` to round them"
            )
        return "categorical"

    def _check_spelling(self, odd: str) -> None:
        if self.known >= FEW_ROWS and self.numbers >= MOSTLY * self.known:
            raise Invalid(
                f"{odd} is not a number, but {self.numbers:,} of {self.known:,} values are; "
                "correct it, add it to `missing`, or add the column to `categorical`"
            )
