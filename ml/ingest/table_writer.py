"""Writer of tables: converts each column to its type, batch by batch."""

from collections.abc import Iterable, Mapping
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
    Column,
    Numeric,
    TableSchema,
    Text,
)
from ml.ingest.tally import Tally
from ml.ingest.warning import DataWarning, Kind
from ml.spelling import (
    TYPES,
    ColumnKind,
    Finding,
    Gaps,
    Spelling,
    read_column,
    unreadable,
)
from ml.spelling.date_formats import FORMATS
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
