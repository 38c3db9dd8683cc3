"""Objects of JSON, one a row: JSON lines, or an array."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from ml.errors import Invalid
from ml.ingest.dialects.dialect import guess
from ml.ingest.dialects.limits import BLOCK_BYTES, MIB
from ml.ingest.names import check_names, shown
from ml.ingest.schema import MAX_COLUMNS
from ml.ingest.table_writer import check_size
from ml.ingest.warning import DataWarning

START = re.compile(r'\s*(?:\{\s*["}]|\[\s*[{\[\]])')
"""Beginning of a file of JSON objects; a CSV file may begin with a brace too."""
BETWEEN = re.compile(r"[\s,]*")
BATCH_VALUES = 200_000
ADVICE = (
    'send one object for each row, such as {"height": 1.5, "colour": "red"}, one a line or in an '
    "array"
)


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


DECODER = JSONDecoder(
    parse_int=_Number,
    parse_float=_Number,
    parse_constant=lambda name: None if name == "NaN" else _Number(name),
)
WORDS: dict[bool | None, str | None] = {True: "true", False: "false", None: None}


def is_json(source: Path) -> bool:
    """Whether a file of UTF-8 text begins like JSON."""
    with source.open(encoding="utf-8-sig", errors="replace") as file:
        return START.match(file.read(1024)) is not None


@dataclass
class JsonTable:
    """The rows of a file of JSON objects, every value text."""

    source: Path
    names: list[str] = field(default_factory=list)
    """Keys of the objects, in the order of their first appearance."""
    nested: set[str] = field(default_factory=set)
    """Keys with lists or objects, which are left out."""
    quoted: frozenset[str] = frozenset()
    """Keys whose values are strings, if others are numbers."""
    unnamed: frozenset[str] = frozenset()
    first_row: int = 1
    decimal_comma: bool = False

    @property
    def warnings(self) -> list[DataWarning]:
        """Warnings about the columns that are left out."""
        if not self.nested:
            return []
        message = f"lists and objects are no values of a table; left out: {_shortened(self.nested)}"
        return [guess(message)]

    def batches(self) -> Iterator[list[Any]]:
        """Yield batches of rows: for each column its texts, null where there is none."""
        rows, count = list[dict[str, Any]](), 0
        most = max(1, BATCH_VALUES // len(self.names))
        with _opened(self.source) as file:
            for row in _Objects(file):
                rows.append(row)
                if len(rows) == most:
                    check_size(count := count + most, len(self.names))
                    yield self._columns(rows)
                    rows = []
        if rows:
            yield self._columns(rows)

    def _columns(self, rows: list[dict[str, Any]]) -> list[Any]:
        return [
            pa.array([_text(row.get(name)) for row in rows], pa.string()) for name in self.names
        ]


def open_table(source: Path) -> JsonTable:
    """Return the table of a file of UTF-8 text.

    Raises:
        Invalid: the file is not JSON, or not one object for each row.
    """
    table, keys, rows = JsonTable(source), dict[str, None](), 0
    numbers = set[str]()
    with _opened(source) as file:
        objects = _Objects(file)
        for row in objects:
            rows += 1
            keys.update(dict.fromkeys(row))
            if len(keys) > MAX_COLUMNS:
                check_names(list(keys))
            numbers.update(name for name, value in row.items() if isinstance(value, _Number))
            table.nested.update(
                name for name, value in row.items() if isinstance(value, list | dict)
            )
    if not rows:
        raise Invalid(f"has no rows; {ADVICE}")
    if table.nested and ((rows == 1 and not objects.in_array) or len(table.nested) == len(keys)):
        raise Invalid(f"has no rows, but lists and objects: {_shortened(table.nested)}; {ADVICE}")
    table.names = [name for name in keys if name not in table.nested]
    check_names(table.names)
    table.quoted = frozenset(keys.keys() - numbers if numbers else ())
    return table


def _opened(source: Path) -> TextIO:
    return source.open(encoding="utf-8-sig", newline="")


def _text(value: str | bool | None) -> str | None:
    return value if isinstance(value, str) else WORDS[value]


class _Objects:
    """The objects of a file, one after the other."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        """Position of the next object in `_text`."""
        self.in_array = self._next() == "["
        self._at += self.in_array

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the objects.

        Raises:
            Invalid: the file has anything else.
        """
        number = 0
        while self._next() == "{":
            number += 1
            yield self._object(number)
        if self.in_array:
            if not self._next():
                raise Invalid("ends within its array: it is truncated; send it again")
            self._at += self._next() == "]"
        if self._next():
            there = self._text[self._at : self._at + 40]
            raise Invalid(f"row {number + 1} is not a JSON object: {shown(there)}; {ADVICE}")

    def _next(self) -> str:
        """Go to the next character that does not separate objects, and return it; empty at the end
        of the file."""
        while True:
            separators = BETWEEN.match(self._text, self._at)
            self._at = separators.end() if separators else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_on():
                return ""

    def _object(self, number: int) -> dict[str, Any]:
        while True:
            try:
                found, self._at = DECODER.raw_decode(self._text, self._at)
            except JSONDecodeError as error:
                is_long = len(self._text) - self._at > BLOCK_BYTES
                if is_long or not self._read_on():
                    length = f" of over {BLOCK_BYTES // MIB} MiB" if is_long else ""
                    raise Invalid(
                        f"row {number}, an object{length}, is not valid JSON: {error.msg}"
                    ) from None
            else:
                return dict(found)

    def _read_on(self) -> bool:
        part = self._file.read(MIB)
        self._text, self._at = self._text[self._at :] + part, 0
        return bool(part)


def _shortened(names: Collection[str]) -> str:
    some = ", ".join(shown(name) for name in sorted(names)[:5])
    return some if len(names) <= 5 else f"{some} and {len(names) - 5:,} more"
