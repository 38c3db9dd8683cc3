"""Records of the beginning of a text file, split by a delimiter that is on trial."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

MAX_RECORDS = 1000
MAX_FIELDS = 200_000
"""Maximum number of records and fields that are looked at to find the form of a file."""


@dataclass(frozen=True)
class Record:
    """A line of a file, or several if a quoted field has line ends."""

    row: int
    """Number of the record, counted from 1."""
    start: int
    """Characters before it."""
    fields: tuple[str, ...]
    """Texts of the fields, without surrounding whitespace."""
    quoted: tuple[bool, ...]
    """Whether each field is quoted."""
    broken: bool
    """Whether a field starts with a quotation mark and goes on after the next, or never has one."""

    @property
    def filled(self) -> tuple[str, ...]:
        """Fields that are not empty."""
        return tuple(text for text in self.fields if text)

    @property
    def is_empty(self) -> bool:
        """Whether the line is empty, which a line of empty fields is not."""
        return len(self.fields) == 1 and not self.fields[0] and not self.quoted[0]

    @property
    def is_comment(self) -> bool:
        """Whether the line starts with #."""
        return self.fields[0].startswith("#") and not self.quoted[0]


def records(text: str, delimiter: str, quote: str | None) -> list[Record]:
    """Return the first records of `text`, at most `MAX_RECORDS`, with at most about `MAX_FIELDS`
    fields in all."""
    found, fields = [], 0
    for record in _records(text, delimiter, quote):
        found.append(record)
        fields += len(record.fields)
        if len(found) == MAX_RECORDS or fields > MAX_FIELDS:
            break
    return found


def _records(text: str, delimiter: str, quote: str | None) -> Iterator[Record]:
    row, start, broken = 1, 0, False
    fields: list[str] = []
    quoted: list[bool] = []
    for match in _field(delimiter, quote).finditer(text):
        if match.start() == len(text) and not fields:
            return
        inside, after, plain, separator = match.groups()
        if inside is None:
            fields.append(plain.strip())
            broken = broken or (quote is not None and plain.lstrip(" ").startswith(quote))
        else:
            assert quote is not None
            fields.append((inside.replace(quote * 2, quote) + after).strip())
            broken = broken or bool(after.strip(" "))
        quoted.append(inside is not None)
        if separator != delimiter or len(fields) > MAX_FIELDS:
            yield Record(row, start, tuple(fields), tuple(quoted), broken)
            row, start, broken, fields, quoted = row + 1, match.end(), False, [], []


@lru_cache(maxsize=32)
def _field(delimiter: str, quote: str | None) -> re.Pattern[str]:
    """Return the pattern of a field: within quotation marks, which blanks may precede, after them,
    without any, and the delimiter or line end."""
    edge = re.escape(delimiter)
    plain = rf"[^{edge}\r\n]*+"
    inside = (
        "(?!)()()"
        if quote is None
        else rf" *+{quote}((?:[^{quote}]++|{quote * 2})*+){quote}({plain})"
    )
    return re.compile(rf"(?:{inside}|({plain}))({edge}|\r\n|\r|\n|\Z)")
