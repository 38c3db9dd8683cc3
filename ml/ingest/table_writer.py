"""Writer of tables: converts each column to its type, batch by batch, and collects statistics."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ml.errors import Invalid
from ml.ingest.clues import NumberClues
from ml.ingest.findings import column_warnings
from ml.ingest.names import shown
from ml.ingest.reading import reading
from ml.ingest.schema import (
    MAX_CATEGORIES,
    MAX_CATEGORY,
    MAX_CATEGORY_CHARACTERS,
    MAX_ROWS,
    MAX_VALUES,
    MAX_WRITTEN_CHARACTERS,
    Boolean,
    Categorical,
    Category,
    Column,
    Date,
    Numeric,
    TableSchema,
    Text,
)
from ml.ingest.warning import DataWarning, Kind
from ml.spelling import (
    PLAIN,
    TYPES,
    ColumnKind,
    Finding,
    Gaps,
    Spelling,
    read_column,
    text_of,
    unreadable,
)
from ml.spelling.date_formats import FORMATS
from ml.spelling.dates import DAY, written
from ml.spelling.hints import FindingKind

FLOAT32_MAX = 3.4028234663852886e38

WANTED: dict[ColumnKind, str] = {"numeric": "a number", "boolean": "true or false"}
MAX_TEXTS = 4 * MAX_CATEGORIES
"""Maximum number of different texts of a batch whose numbers are read once each."""


WARNINGS: dict[FindingKind, Kind] = {
    "ambiguous_date": "ambiguous_date",
    "date_format": "date_format",
    "inexact": "large_integers",
    "leading_zeros": "leading_zeros",
    "notation": "number_spelling",
    "numbers_as_text": "numbers_as_text",
}
"""Kind of the warning about each kind of finding of the speller."""


def warnings_of(findings: Iterable[Finding]) -> list[DataWarning]:
    """Return what was found about the spelling of columns as warnings."""
    return [
        DataWarning(column=found.column, kind=WARNINGS[found.kind], message=found.message)
        for found in findings
    ]


def check_size(rows: int, columns: int) -> None:
    """Check that a table is not too large.

    Raises:
        Invalid: it has too many rows or values.
    """
    if rows > MAX_ROWS:
        raise Invalid(f"has over {MAX_ROWS:,} rows, the maximum")
    if rows * columns > MAX_VALUES:
        raise Invalid(f"has over {MAX_VALUES:,} values, the maximum")


def typed(values: Any, spelling: Spelling, gaps: Gaps, name: str, first_row: int) -> Any:
    """Return `values`, trimmed texts or already typed, as the type of the kind of `spelling`.

    Raises:
        Invalid: a value is not of that kind; the message gives `name` and its row, counted from
            `first_row`.
    """
    found = read_column(values, spelling, gaps)
    if found.null_count > values.null_count:
        index = unreadable(values, found, spelling, gaps)
        if index is not None:
            raise _refused(values, index, name, first_row, _wanted(spelling))
    return _without_infinity(found, name, first_row) if spelling.kind == "numeric" else found


def _wanted(spelling: Spelling) -> str:
    if spelling.kind == "date":
        return f"a date of the years 1 to 9999 like {FORMATS[spelling.date]}"
    return WANTED[spelling.kind]


def _without_infinity(numbers: Any, name: str, first_row: int) -> Any:
    is_small = pc.less_equal(pc.abs(numbers), FLOAT32_MAX)
    if not pc.all(is_small, min_count=0).as_py():
        index, wanted = pc.index(is_small, False).as_py(), f"at most {FLOAT32_MAX:.3g}"
        raise _refused(numbers, index, name, first_row, f"a finite number of {wanted}")
    return numbers


def _refused(values: Any, index: int, name: str, first_row: int, wanted: str) -> Invalid:
    value = shown(values[index].as_py())
    return Invalid(f"row {first_row + index}, column {name!r}: {value} is not {wanted}")


@dataclass
class Tally:
    """Running statistics of a column."""

    name: str
    spelling: Spelling
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
    has_times: bool = False
    """Whether any instant is not a midnight."""
    characters: int = 0
    """Number of characters of all values in `counts`, if they are texts."""
    written: dict[float, str] = field(default_factory=dict)
    """First text of each number in `counts`, if they came as texts."""

    @property
    def kind(self) -> ColumnKind:
        """The kind of the column, unless it has too many values to be categorical."""
        return self.spelling.kind

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
        if self.kind == "date":
            known = known.cast(pa.int64())
            self._see_instants(known)
        self._count(known)
        if self.kind == "numeric":
            self._measure(known)

    def _count(self, known: Any) -> None:
        if self.counts is None:
            return
        is_text = pa.types.is_string(known.type)
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
        self.counts, self.characters, self.written = None, 0, {}

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

    def _see_instants(self, known: Any) -> None:
        extremes = pc.min_max(known).as_py()
        self.low, self.high = min(self.low, extremes["min"]), max(self.high, extremes["max"])
        midnights = pc.multiply(pc.divide(known, DAY), DAY)
        self.has_times = self.has_times or pc.any(pc.not_equal(known, midnights)).as_py()

    def column(self) -> Column:
        """Return the description of the column."""
        if self.kind == "boolean":
            return Boolean(name=self.name, missing=self.missing, true=self.true)
        if self.kind == "numeric":
            return self._numeric()
        if self.kind == "date":
            return self._date()
        if self.counts is None or self.kind == "text":
            return Text(name=self.name, missing=self.missing)
        counts = sorted((str(value), count) for value, count in self.counts.items())
        categories = [Category(value=value, count=count) for value, count in counts]
        return Categorical(name=self.name, missing=self.missing, categories=categories)

    def _date(self) -> Date:
        is_known = self.rows > self.missing
        first, last = (int(self.low), int(self.high)) if is_known else (0, 0)
        return Date(
            name=self.name,
            missing=self.missing,
            distinct=None if self.counts is None else len(self.counts),
            format=self.spelling.date,
            has_times=self.has_times,
            min=written(first, self.has_times) if is_known else None,
            max=written(last, self.has_times) if is_known else None,
        )

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
            notation=None if self.spelling.notation == PLAIN else self.spelling.notation,
            written={
                text_of(number): text
                for number, text in sorted(self.written.items())
                if text != text_of(number)
            },
        )


class TableWriter:
    """Writes a table batch by batch, and derives its schema."""

    def __init__(
        self, path: Path, spellings: Mapping[str, Spelling], gaps: Gaps, first_row: int
    ) -> None:
        self._gaps = gaps
        self._tallies = [Tally(name, spelling) for name, spelling in spellings.items()]
        self._clues = {
            name: NumberClues() for name, one in spellings.items() if one.kind == "numeric"
        }
        self._next_row = self._first_row = first_row
        types = [(name, TYPES[spelling.kind]) for name, spelling in spellings.items()]
        self._writer = pq.ParquetWriter(path, pa.schema(types))

    def add(self, columns: list[Any]) -> None:
        """Write a batch: equally many values of each column, texts trimmed by the gaps.

        Raises:
            Invalid: a value is not of its column's kind, or the table gets too large.
        """
        arrays = []
        for values, tally in zip(columns, self._tallies, strict=True):
            with reading(f"the column {tally.name!r}"):
                arrays.append(self._read(values, tally))
        self._next_row += len(arrays[0])
        check_size(self._next_row - self._first_row, len(arrays))
        for values, tally in zip(arrays, self._tallies, strict=True):
            tally.add(values)
            if tally.name in self._clues:
                self._clues[tally.name].see(values)
        if sum(tally.characters for tally in self._tallies) > MAX_CATEGORY_CHARACTERS:
            raise Invalid(
                f"has categories of over {MAX_CATEGORY_CHARACTERS:,} characters in all; make the "
                "columns with long values text"
            )
        self._writer.write_batch(pa.record_batch(arrays, schema=self._writer.schema))

    def _read(self, values: Any, tally: Tally) -> Any:
        """Return the values of a column with their type; note how few different numbers are
        written."""
        arguments = tally.spelling, self._gaps, tally.name, self._next_row
        is_written = tally.kind == "numeric" and pa.types.is_string(values.type)
        if not is_written or tally.counts is None:
            return typed(values, *arguments)
        encoded = values.dictionary_encode()
        texts = encoded.dictionary
        if len(texts) > MAX_TEXTS:
            return typed(values, *arguments)
        try:
            numbers = typed(texts, *arguments)
        except Invalid:
            return typed(values, *arguments)  # names the row
        for number, text in zip(numbers.to_pylist(), texts.to_pylist(), strict=True):
            if number is not None:
                tally.written.setdefault(number, text)
        return numbers.take(encoded.indices)

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def schema(
        self, declared: Mapping[str, ColumnKind], warnings: Iterable[DataWarning] = ()
    ) -> TableSchema:
        """Return the schema of the table; `declared` are the kinds that the user chose.

        Raises:
            Invalid: there are no rows, or a column declared to be categorical is free text.
        """
        rows = self._next_row - self._first_row
        if not rows:
            raise Invalid("has no rows below its header")
        columns, known = [tally.column() for tally in self._tallies], list(warnings)
        for column in columns:
            if declared.get(column.name) == "categorical" and isinstance(column, Text):
                raise Invalid(
                    f"the column {column.name!r} has over {MAX_CATEGORIES:,} different values, or "
                    f"one of over {MAX_CATEGORY:,} characters, and cannot be categorical; make it "
                    "text"
                )
        return TableSchema(
            rows=rows,
            columns=_within_budget(columns),
            missing=list(self._gaps.texts),
            warnings=[*known, *column_warnings(columns, self._clues, rows, declared, known)],
        )


def _within_budget(columns: list[Column]) -> list[Column]:
    """Return the columns without the texts of numbers that take more than the schema has room
    for."""
    left, kept = MAX_WRITTEN_CHARACTERS, list[Column]()
    for column in columns:
        if isinstance(column, Numeric) and column.written:
            size = sum(len(number) + len(text) for number, text in column.written.items())
            if size > left:
                kept.append(column.model_copy(update={"written": {}}))
                continue
            left -= size
        kept.append(column)
    return kept
