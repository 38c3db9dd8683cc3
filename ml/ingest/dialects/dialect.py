"""The form of a text file of rows."""

from dataclasses import dataclass

from ml.ingest.warning import DataWarning


@dataclass(frozen=True)
class Dialect:
    """How the rows of a file are written, and where they begin."""

    delimiter: str
    quote: str | None
    """Quotation mark of fields, doubled within them; None: no character is special."""
    offset: int
    """Bytes before the first row of data."""
    first_row: int
    """Number of the first row of data, as in a spreadsheet."""
    names: tuple[str, ...]
    """Names of the columns that are read."""
    positions: tuple[int, ...]
    """Position of each column among the fields of a row."""
    width: int
    """Number of fields of a row."""
    unnamed: frozenset[str] = frozenset()
    """Columns whose names are not from the file: without values, they are no columns at all."""
    quoted: frozenset[str] = frozenset()
    """Columns of which all values are quoted, in a file that does not quote numbers."""
    has_comments: bool = False
    """Whether lines that start with # may be comments."""
    warnings: tuple[DataWarning, ...] = ()
    """Guesses that change how the file is read."""


def guess(message: str, column: str | None = None) -> DataWarning:
    """Return a warning about a guess."""
    return DataWarning(column=column, kind="form", message=message)
