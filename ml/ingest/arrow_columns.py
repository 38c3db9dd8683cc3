"""Columns of Arrow's types: how each is read, and whether a model can learn from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ml.errors import Invalid
from ml.ingest.names import shown
from ml.ingest.schema import MAX_CATEGORIES
from ml.ingest.table_writer import FLOAT32_MAX
from ml.spelling import ColumnKind, Gaps, Spelling, read_column
from ml.spelling.numbers import EXACT

MAX_TYPE = 60
"""Characters of a type that messages show."""
INFINITIES = ("inf", "-inf", "+inf", "infinity", "-infinity", "+infinity")
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""Length of Arrow's units of time."""

Tests = Sequence[Callable[[Any], bool]]

TEXTS: Tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
SPANS: Tests = (pa.types.is_time, pa.types.is_duration)
KINDS: dict[ColumnKind, Tests] = {
    "boolean": (pa.types.is_boolean,),
    "numeric": (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, *SPANS),
    "date": (pa.types.is_date, pa.types.is_timestamp),
    "text": TEXTS,
}
"""Tests for the types of columns that can be read, by the kind of their values."""


@dataclass(frozen=True)
class Source:
    """A column as its file describes it."""

    kind: ColumnKind
    """Kind of its values; those of texts are inferred."""
    is_category: bool = False
    """Whether the file itself says that the values are categories."""


def source_of(kind: Any, is_category: bool = False) -> Source | None:
    """Return the description of columns of an Arrow type, None if they cannot be read."""
    if pa.types.is_dictionary(kind):
        return source_of(kind.value_type, is_category=True)
    for name, tests in KINDS.items():
        if _is(kind, tests):
            return Source(name, is_category)
    return None


def is_span(kind: Any) -> bool:
    """Return whether columns of an Arrow type are durations or times of day."""
    return _is(kind, SPANS)


def _is(kind: Any, tests: Tests) -> bool:
    return any(test(kind) for test in tests)


def type_name(kind: Any) -> str:
    """Return an Arrow type as shown in messages."""
    name = str(kind)
    return name if len(name) <= MAX_TYPE else f"{name[:MAX_TYPE]}..."


def plain(column: Any, gaps: Gaps) -> Any:
    """Return a column as booleans, dates, numbers or texts, without encodings; null in place of
    texts that are gaps. Durations and times of day become seconds."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is(column.type, TEXTS):
        return gaps.trimmed(pc.cast(column, pa.string()))
    if is_span(column.type):
        unit = SECONDS[column.type.unit]
        ticks = pc.cast(column, pa.int32() if pa.types.is_time32(column.type) else pa.int64())
        return pc.multiply(pc.cast(ticks, pa.float64(), safe=False), unit)
    if pa.types.is_floating(column.type):
        if pa.types.is_float16(column.type):
            column = pc.cast(column, pa.float32())
        return _without_marks(column, gaps)
    return column


def _without_marks(numbers: Any, gaps: Gaps) -> Any:
    """Return floats with null for gaps as their type rounds them, and for infinity if it is one."""
    marks = [number for number in gaps.numbers if abs(number) <= FLOAT32_MAX]
    marks += [float(text) for text in gaps.texts if text.lower() in INFINITIES]
    if not marks:
        return numbers
    is_gap = pc.is_in(numbers, value_set=pa.array(marks, numbers.type))
    return pc.if_else(is_gap, pa.scalar(None, numbers.type), numbers)


def as_written(column: Any, spelling: Spelling, gaps: Gaps) -> Any:
    """Return whole decimals that are categories as texts of all their digits, and any other column
    as it is."""
    is_whole = pa.types.is_decimal(column.type) and column.type.scale == 0
    if is_whole and spelling.kind in ("categorical", "text"):
        return gaps.trimmed(pc.cast(column, pa.string()))
    return column


@dataclass
class NumberScan:
    """Properties of a column of numbers that decide how it is written."""

    name: str
    first_row: int
    rows: int = 0
    too_large: str | None = None
    """Row and value of the first number that is infinite or beyond float32."""
    is_exact: bool = True
    """Whether no whole number is beyond `EXACT`."""
    distinct: set[Any] | None = field(default_factory=set)
    """Different whole numbers; None if there are over `MAX_CATEGORIES`."""

    def see(self, values: Any, gaps: Gaps) -> None:
        """Add a batch of values, in the form of `plain`."""
        numbers = read_column(values, Spelling(kind="numeric"), gaps)
        is_large = pc.greater(pc.abs(numbers), FLOAT32_MAX)
        index = pc.index(is_large, True).as_py()
        if self.too_large is None and index >= 0:
            place = f"row {self.first_row + self.rows + index}, column {self.name!r}"
            self.too_large = f"{place}: {shown(numbers[index].as_py())}"
        if pa.types.is_integer(values.type):
            self._see_whole(gaps.without(values))
        elif pa.types.is_decimal(values.type) and values.type.scale == 0:
            self._see_whole(values.filter(pc.is_valid(numbers)))
        self.rows += len(values)

    def _see_whole(self, values: Any) -> None:
        extremes = pc.min_max(values).as_py()
        if extremes["max"] is not None:
            self.is_exact &= max(-extremes["min"], extremes["max"]) <= EXACT
        if self.distinct is None:
            return
        found = pc.unique(values).drop_null()
        if len(found) <= MAX_CATEGORIES:
            self.distinct.update(found.to_pylist())
        if max(len(found), len(self.distinct)) > MAX_CATEGORIES:
            self.distinct = None

    def kind(self) -> ColumnKind:
        """Return the kind of the column.

        Raises:
            Invalid: no model can learn from it as it is.
        """
        if self.too_large is not None:
            raise Invalid(
                f"{self.too_large} is not a finite number of at most {FLOAT32_MAX:.3g}; list it in "
                "missing if it stands for none"
            )
        if self.is_exact:
            return "numeric"
        if self.distinct is None:
            raise Invalid(
                f"the column {self.name!r} has whole numbers beyond 2^53, which would be rounded, "
                f"and over {MAX_CATEGORIES:,} different ones, too many for categories; list it in "
                "numeric to round them"
            )
        return "categorical"
