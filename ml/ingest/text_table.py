"""Tables of texts: the kinds of their columns, and their rows as values of these kinds."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from ml.errors import Invalid
from ml.ingest.dialects.dialect import guess
from ml.ingest.names import shown
from ml.ingest.options import ColumnKind, Options
from ml.ingest.schema import TABLE, TableSchema
from ml.ingest.table_writer import NUMBER, TableWriter, check_types, trimmed
from ml.ingest.warning import DataWarning

MOSTLY = 0.9
"""Share of numbers from which the other values of a column are errors, not categories."""
MAX_WARNINGS = 20
FEW_ROWS = 20
"""Number of known values below which `MOSTLY` is not applied."""


class TextTable(Protocol):
    """A table that can be read more than once."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns."""

    @property
    def unnamed(self) -> Collection[str]:
        """Columns whose names are not from the file; they are left out if they have no value."""

    @property
    def first_row(self) -> int:
        """Number of the first row in messages."""

    @property
    def warnings(self) -> Sequence[DataWarning]:
        """Guesses about the form of the file."""

    def batches(self) -> Iterator[list[Any]]:
        """Yield batches of rows: for each column an array of texts, null where there is none."""


def read_table(table: TextTable, into: Path, options: Options) -> TableSchema:
    """Read a table into the directory `into`.

    Raises:
        Invalid: a value does not fit its column; the message names row and column.
    """
    check_types(options.types, list(table.names))
    guesses = _guesses(table, options)
    empty = {name for name in table.unnamed if not guesses[name].known}
    kinds = {
        name: options.types.get(name) or guess.kind(name)
        for name, guess in guesses.items()
        if name not in empty
    }
    kept = [place for place, name in enumerate(table.names) if name in kinds]
    with TableWriter(into / TABLE, kinds, table.first_row) as writer:
        for batch in table.batches():
            writer.add([trimmed(batch[place], options.missing) for place in kept])
    schema = writer.schema(options.types)
    warnings = [*table.warnings, *_unnamed(table, empty), *schema.warnings]
    return schema.model_copy(update={"warnings": warnings})


def _unnamed(table: TextTable, empty: Collection[str]) -> list[DataWarning]:
    """Return warnings about columns without a name."""
    called = [name for name in table.names if name in table.unnamed and name not in empty]
    found = [guess(f"the column has no name; it is called {name!r}", name) for name in called]
    if empty:
        columns = "a column is" if len(empty) == 1 else f"{len(empty)} columns are"
        found.append(guess(f"{columns} left out, having neither a name nor a value"))
    if len(found) <= MAX_WARNINGS:
        return found
    return [
        guess(f"{len(called):,} columns have no name; each is called by its place: {called[0]}")
    ]


@dataclass
class _Guess:
    """Inference of a column's kind from the texts seen so far."""

    known: int = 0
    numbers: int = 0
    truths: int = 0
    odd: tuple[int, str] | None = None
    """Row and text of the first value that is not a number."""

    def see(self, texts: Any, first_row: int) -> None:
        known = len(texts) - texts.null_count
        if not known:
            return
        self.known += known
        is_number = pc.match_substring_regex(texts, NUMBER)
        self.numbers += pc.sum(is_number).as_py()
        truths = pc.is_in(pc.utf8_lower(texts), value_set=pa.array(["true", "false"]))
        self.truths += pc.sum(truths).as_py()
        if self.odd is None and (index := pc.index(is_number, False).as_py()) >= 0:
            self.odd = first_row + index, texts[index].as_py()

    def kind(self, name: str) -> ColumnKind:
        """Return the kind of the column.

        Raises:
            Invalid: most values are numbers, but not all.
        """
        if self.odd is None:
            return "numeric"
        if self.truths == self.known:
            return "boolean"
        if self.known >= FEW_ROWS and self.numbers >= MOSTLY * self.known:
            row, text = self.odd
            raise Invalid(
                f"row {row}, column {name!r}: {shown(text)} is not a number, but {self.numbers:,} "
                f"of {self.known:,} values are; correct it, add it to `missing`, or add the column "
                "to `categorical`"
            )
        return "categorical"


def _guesses(table: TextTable, options: Options) -> dict[str, _Guess]:
    guesses = {name: _Guess() for name in table.names}
    row = table.first_row
    for batch in table.batches():
        for name, column in zip(table.names, batch, strict=True):
            if name not in options.types or name in table.unnamed:
                guesses[name].see(trimmed(column, options.missing), row)
        row += len(batch[0])
    if row == table.first_row:
        raise Invalid("has no rows below its header")
    return guesses
