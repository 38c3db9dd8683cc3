"""The spelling of a column: everything that says which value a text, or a JSON value, is."""

from typing import Literal

from ml.spelling.numbers import PLAIN, Notation
from ml.strict import Frozen

ColumnKind = Literal["numeric", "categorical", "boolean", "date", "text"]


class Spelling(Frozen):
    """How the values of a column are written, in its file and in requests."""

    kind: ColumnKind
    """Kind of the column's values. A job may use numbers as categories."""
    notation: Notation = PLAIN
    """Notation of numbers."""
    date: str = ""
    """Name of the format of dates: see `ml.spelling.date_formats`."""
