"""Knowledge that a guess of spellings begins with, and findings that it ends with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ml.errors import Invalid
from ml.spelling.candidates import MARKS
from ml.spelling.date_formats import DateStyle
from ml.spelling.numbers import DecimalMark, ThousandsMark
from ml.spelling.spelling import ColumnKind

FindingKind = Literal[
    "ambiguous_date", "date_format", "inexact", "leading_zeros", "notation", "numbers_as_text"
]


class Finding(NamedTuple):
    """A decision about a column that its owner should know."""

    column: str
    kind: FindingKind
    message: str


@dataclass(frozen=True)
class Hints:
    """Knowledge about a file besides its values."""

    types: Mapping[str, ColumnKind] = field(default_factory=dict)
    """Kinds of columns that the user named."""
    decimal: DecimalMark | None = None
    """Decimal mark that the user named."""
    thousands: ThousandsMark | None = None
    """Thousands mark that the user named."""
    decimal_comma: bool = False
    """Whether a comma is a decimal mark where nothing else tells: fields separated by semicolons
    suggest it."""
    dates: Mapping[str, DateStyle] = field(default_factory=dict)
    """Order or unit of dates that the user named."""
    quoted: frozenset[str] = frozenset()
    """Columns of which the file says that they are texts: it quotes them, and no numbers."""

    def marks(self) -> list[tuple[DecimalMark, ThousandsMark]]:
        """Return the decimal and thousands marks to consider.

        Raises:
            Invalid: both marks are the same.
        """
        if self.decimal is not None and self.decimal == self.thousands:
            raise Invalid(f"decimal and thousands are both {self.decimal!r}; they must differ")
        found = [
            (decimal, thousands)
            for decimal, thousands in MARKS
            if self.decimal in (None, decimal) and self.thousands in (None, "", thousands)
        ]
        return found if self.thousands != "" else [(decimal, "") for decimal, _ in found[:1]]
