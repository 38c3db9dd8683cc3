"""Tables of texts, read as values of the kinds that their columns have."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from ml.errors import Invalid
from ml.ingest.dialects.dialect import guess
from ml.ingest.options import Options
from ml.ingest.schema import TABLE, TableSchema
from ml.ingest.selection import kept
from ml.ingest.table_writer import TableWriter, warnings_of
from ml.ingest.warning import DataWarning
from ml.spelling import Gaps, guess_spellings

MAX_WARNINGS = 20


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

    @property
    def quoted(self) -> frozenset[str]:
        """Columns of texts, if the file tells texts from numbers."""

    @property
    def decimal_comma(self) -> bool:
        """Whether numbers have a decimal comma where nothing else tells."""

    def batches(self) -> Iterator[list[Any]]:
        """Yield batches of rows: for each column an array of texts, null where there is none."""


def read_table(table: TextTable, into: Path, options: Options) -> TableSchema:
    """Read a table into the directory `into`.

    Raises:
        Invalid: a value does not fit its column; the message names row and column.
    """
    wanted = kept(table.names, options)
    gaps = options.gaps()
    empty = _empty(table, gaps)
    names = [name for name in wanted if name not in empty]
    place_of = {name: place for place, name in enumerate(table.names)}
    places = [place_of[name] for name in names]

    def batches() -> Iterator[list[Any]]:
        for batch in table.batches():
            yield [gaps.trimmed(batch[place]) for place in places]

    hints = options.hints(table.decimal_comma, table.quoted)
    spellings, findings = guess_spellings(names, batches, table.first_row, hints)
    with TableWriter(into / TABLE, spellings, gaps, table.first_row) as writer:
        for batch in batches():
            writer.add(batch)
    guesses = [*table.warnings, *_unnamed(table, empty)]
    return writer.schema(options.types, [*guesses, *warnings_of(findings)])


def _empty(table: TextTable, gaps: Gaps) -> set[str]:
    """Return the columns that have neither a name nor a value."""
    empty = set(table.unnamed)
    for batch in table.batches() if empty else ():
        for name, column in zip(table.names, batch, strict=True):
            if name in empty and gaps.trimmed(column).null_count < len(column):
                empty.discard(name)
        if not empty:
            break
    if len(empty) == len(table.names):
        raise Invalid("has no names of columns, and no values")
    return empty


def _unnamed(table: TextTable, empty: Collection[str]) -> list[DataWarning]:
    """Return warnings about columns without a name."""
    called = [name for name in table.names if name in table.unnamed and name not in empty]
    found = [guess(f"the column has no name; it is called {name!r}", name) for name in called]
    if len(found) > MAX_WARNINGS:
        message = f"{len(called):,} columns have no name; each is called by its place: {called[0]}"
        found = [guess(message)]
    if empty:
        columns = "a column is" if len(empty) == 1 else f"{len(empty):,} columns are"
        found.append(guess(f"{columns} left out, having neither a name nor a value"))
    return found
