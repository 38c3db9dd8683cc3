"""Writer of tables: converts each column to its type, batch by batch, and collects statistics."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ml.errors import Invalid
from ml.ingest.names import shown
from ml.ingest.options import ColumnKind
from ml.ingest.reading import reading
from ml.ingest.schema import (
    MAX_CATEGORIES,
    MAX_CATEGORY,
    MAX_CATEGORY_CHARACTERS,
    MAX_ROWS,
    MAX_VALUES,
    Boolean,
    Categorical,
    Category,
    Column,
    Numeric,
    TableSchema,
    Text,
)

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None", "?")
"""Texts that mark a missing value."""
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
"""Texts allowed in a column declared to be boolean."""
FLOAT32_MAX = 3.4028234663852886e38

TYPES: dict[ColumnKind, Any] = {
    "numeric": pa.float64(),
    "boolean": pa.bool_(),
    "categorical": pa.string(),
    "text": pa.string(),
}


def check_types(types: Mapping[str, ColumnKind], names: list[str]) -> None:
    """Check that every column with a declared kind exists.

    Raises:
        Invalid: a column is missing.
    """
    for name in types:
        if name not in names:
            there = ", ".join(names[:20])
            raise Invalid(f"there is no column {name!r} to be {types[name]}; choose from {there}")


def check_size(rows: int, columns: int) -> None:
    """Check that a table is not too large.

    Raises:
        Invalid: it has too many rows or values.
    """
    if rows > MAX_ROWS:
        raise Invalid(f"has over {MAX_ROWS:,} rows, the maximum")
    if rows * columns > MAX_VALUES:
        raise Invalid(f"has over {MAX_VALUES:,} values, the maximum")


def trimmed(texts: Any, missing: Sequence[str] | None) -> Any:
    """Return texts without surrounding whitespace, null for those in `missing`, or in `MISSING` if
    that is None."""
    bare = pc.utf8_trim_whitespace(texts)
    marks = MISSING if missing is None else ("", *missing)
    is_missing = pc.is_in(bare, value_set=pa.array(marks))
    return pc.if_else(is_missing, pa.scalar(None, pa.string()), bare)


def typed(values: Any, kind: ColumnKind, name: str, first_row: int) -> Any:
    """Return `values`, texts or already typed, as the type of `kind`.

    Raises:
        Invalid: a value is not of that kind; the message gives `name` and its row, counted from
            `first_row`.
    """
    wanted = TYPES[kind]
    if values.type == wanted:
        found = values
    elif pa.types.is_string(values.type):
        found = (
            _numbers(values, name, first_row)
            if kind == "numeric"
            else _truths(values, name, first_row)
        )
    elif kind == "boolean":
        found = _truths(_as_texts(values), name, first_row)
    elif kind == "numeric":
        found = pc.cast(values, wanted, safe=False)
    else:
        found = _as_texts(values)
    return _without_infinity(found, name, first_row) if kind == "numeric" else found


def _as_texts(values: Any) -> Any:
    """Return numbers and booleans as texts: 3 for 3.0, true for True."""
    if pa.types.is_boolean(values.type):
        return pc.if_else(values, "true", "false")
    if pa.types.is_integer(values.type):
        return pc.cast(values, pa.string())
    numbers = pc.cast(values, pa.float64(), safe=False).to_pylist()
    texts = [None if n is None or math.isnan(n) else repr(n).removesuffix(".0") for n in numbers]
    return pa.array(texts, pa.string())


def _numbers(texts: Any, name: str, first_row: int) -> Any:
    _all_are(pc.match_substring_regex(texts, NUMBER), texts, name, first_row, "a number")
    return pc.cast(pc.replace_substring_regex(texts, r"^\+", ""), pa.float64())


def _truths(texts: Any, name: str, first_row: int) -> Any:
    lowered = pc.utf8_lower(texts)
    known = pa.array(list(TRUTHS))
    is_known = pc.if_else(pc.is_null(texts), None, pc.is_in(lowered, value_set=known))
    _all_are(is_known, texts, name, first_row, "true or false")
    return pc.take(pa.array(list(TRUTHS.values())), pc.index_in(lowered, value_set=known))


def _without_infinity(numbers: Any, name: str, first_row: int) -> Any:
    """Return `numbers` with null for NaN; raise `Invalid` for one beyond float32."""
    is_small = pc.less_equal(pc.abs(numbers), FLOAT32_MAX)
    wanted = f"a finite number of at most {FLOAT32_MAX:.3g}"
    _all_are(pc.or_(is_small, pc.is_nan(numbers)), numbers, name, first_row, wanted)
    return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)


def _all_are(is_good: Any, values: Any, name: str, first_row: int, wanted: str) -> None:
    if pc.all(is_good, min_count=0).as_py():
        return
    index = pc.index(is_good, False).as_py()
    raise Invalid(
        f"row {first_row + index}, column {name!r}: {shown(values[index].as_py())} is not {wanted}"
    )


@dataclass
class Tally:
    """Running statistics of a column."""

    name: str
    kind: ColumnKind
    rows: int = 0
    missing: int = 0
    true: int = 0
    counts: Counter[object] | None = field(default_factory=Counter)
    """Number of rows by value; None once there are too many values, or one is too long."""
    low: float = math.inf
    high: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared differences from the mean."""
    whole: bool = True
    characters: int = 0
    """Number of characters of all values in `counts`, if they are texts."""

    def add(self, values: Any) -> None:
        """Add the values of a batch."""
        self.rows += len(values)
        self.missing += values.null_count
        known = values.drop_null()
        if not len(known):
            return
        if self.kind == "boolean":
            self.true += pc.sum(known).as_py()
            return
        self._count(known)
        if self.kind == "numeric":
            self._measure(known)

    def _count(self, known: Any) -> None:
        if self.counts is None:
            return
        is_text = self.kind != "numeric"
        found = pc.value_counts(known)
        if len(found) > MAX_CATEGORIES or (
            is_text and pc.max(pc.utf8_length(known)).as_py() > MAX_CATEGORY
        ):
            self._stop_counting()
            return
        self.counts.update({v["values"]: v["counts"] for v in found.to_pylist()})
        if len(self.counts) > MAX_CATEGORIES:
            self._stop_counting()
        elif is_text:
            self.characters = sum(len(str(value)) for value in self.counts)

    def _stop_counting(self) -> None:
        self.counts, self.characters = None, 0

    def _measure(self, known: Any) -> None:
        before, count = self.rows - self.missing - len(known), len(known)
        mean = pc.mean(known).as_py()
        squares = pc.variance(known).as_py() * count
        # Chan, Golub and LeVeque 1979: combined moments of two samples.
        distance, total = mean - self.mean, before + count
        self.squares += squares + distance * distance * before * count / total
        self.mean += distance * count / total
        extremes = pc.min_max(known).as_py()
        self.low = min(self.low, extremes["min"])
        self.high = max(self.high, extremes["max"])
        self.whole = self.whole and bool(pc.all(pc.equal(known, pc.floor(known))).as_py())

    def column(self) -> Column:
        """Return the description of the column."""
        if self.kind == "boolean":
            return Boolean(name=self.name, missing=self.missing, true=self.true)
        if self.kind == "numeric":
            return self._numeric()
        if self.counts is None or self.kind == "text":
            return Text(name=self.name, missing=self.missing)
        counts = sorted((str(value), count) for value, count in self.counts.items())
        categories = [Category(value=value, count=count) for value, count in counts]
        return Categorical(name=self.name, missing=self.missing, categories=categories)

    def _numeric(self) -> Numeric:
        known = self.rows - self.missing
        variance = self.squares / known if known else math.nan
        return Numeric(
            name=self.name,
            missing=self.missing,
            distinct=None if self.counts is None else len(self.counts),
            whole=self.whole,
            min=self.low if known else None,
            max=self.high if known else None,
            mean=self.mean if known else None,
            std=math.sqrt(variance) if known else None,
        )


class TableWriter:
    """Writes a table batch by batch, and derives its schema."""

    def __init__(self, path: Path, kinds: Mapping[str, ColumnKind], first_row: int) -> None:
        self._tallies = [Tally(name, kind) for name, kind in kinds.items()]
        self._next_row = self._first_row = first_row
        types = pa.schema([(name, TYPES[kind]) for name, kind in kinds.items()])
        self._writer = pq.ParquetWriter(path, types)

    def add(self, columns: list[Any]) -> None:
        """Write a batch: equally many values of each column.

        Raises:
            Invalid: a value is not of its column's kind, or the table gets too large.
        """
        arrays = []
        for values, tally in zip(columns, self._tallies, strict=True):
            with reading(f"the column {tally.name!r}"):
                arrays.append(typed(values, tally.kind, tally.name, self._next_row))
        self._next_row += len(arrays[0])
        check_size(self._next_row - self._first_row, len(arrays))
        for values, tally in zip(arrays, self._tallies, strict=True):
            tally.add(values)
        if sum(tally.characters for tally in self._tallies) > MAX_CATEGORY_CHARACTERS:
            raise Invalid(
                f"has categories of over {MAX_CATEGORY_CHARACTERS:,} characters in all; make the "
                "columns with long values text"
            )
        self._writer.write_batch(pa.record_batch(arrays, schema=self._writer.schema))

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def schema(self, declared: Mapping[str, ColumnKind]) -> TableSchema:
        """Return the schema of the table; `declared` are the kinds that the user chose.

        Raises:
            Invalid: there are no rows, or a column declared to be categorical is free text.
        """
        rows = self._next_row - self._first_row
        if not rows:
            raise Invalid("has no rows below its header")
        columns = [tally.column() for tally in self._tallies]
        for column in columns:
            if declared.get(column.name) == "categorical" and isinstance(column, Text):
                raise Invalid(
                    f"the column {column.name!r} has over {MAX_CATEGORIES:,} different values, or "
                    f"one of over {MAX_CATEGORY:,} characters, and cannot be categorical; make it "
                    "text"
                )
        return TableSchema(rows=rows, columns=columns)
