"""Large JSON documents, taken apart without being parsed as a whole.

A parser turns 2 MiB of `[],` into hundreds of megabytes, and holds the interpreter's lock from the
first byte to the last. Here only the extents of values are found; whoever reads them parses a few
at a time, and none before its number of values was counted.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from pydantic_core import from_json

from ml.errors import Invalid

Span = tuple[int, int]
"""Start and end of a value in the text."""

CHUNK_BYTES = 64 * 1024
"""Bytes that are searched or parsed at a time, with the interpreter's lock held."""
MAX_DEPTH = 64
LONGEST_NUMBER = 4096
SPARE_VALUES = 1000
BYTES_PER_VALUE = 64
SPARE_BYTES = 1024 * 1024
"""Bytes that a row may have beside `BYTES_PER_VALUE`: it is parsed as a whole."""
SPARE_BRACKETS = 1000
BRACKETS_PER_BYTE = 0.55
"""Density of brackets that no rows exceed: `[1],` has two in four bytes."""

SPACE = re.compile(rb"[ \t\n\r]*+")
SCALAR = re.compile(rb'[^\s,:"\[\]{}]++')
FLAT = re.compile(rb'(?s)(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+')
"""Everything up to the next bracket, strings included."""
STRING = re.compile(rb'(?s)[^"\\]*+(?:\\.[^"\\]*+)*+')
"""The rest of a string, up to its closing quote."""
STRING_PIECE = re.compile(rb"(?s)(?:[^\\]++|\\u.{4}|\\[^u])*+")
"""A part of a string that ends in no escape sequence."""
QUOTE, COMMA, COLON, LIST = b'",:['
OPENING = b"[{"
BRACKETS = b"[]{}"


class NotJson(Invalid):
    """The text is not JSON."""


def parsed(text: bytes | bytearray | memoryview) -> Any:
    """Parse JSON of bounded size; unlike orjson, accept NaN and numbers of any size.

    Raises:
        NotJson: the text is not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return from_json(bytes(text), allow_inf_nan=True)
    except ValueError as error:
        raise NotJson(f"is not valid JSON: {error}") from None


def skip_space(text: bytes, start: int) -> int:
    """Return the position of the first byte from `start` on that is not white space."""
    while True:
        stop = SPACE.match(text, start, start + CHUNK_BYTES).end()  # type: ignore[union-attr]
        if stop < start + CHUNK_BYTES:
            return stop
        start = stop


def string_pieces(text: bytes, start: int, stop: int) -> Iterator[str]:
    """Yield the JSON string from `start` to `stop` in pieces of at most `CHUNK_BYTES` of its text.

    Raises:
        NotJson: an escape sequence is malformed, or stands for half of a character whose other half
            is in the next piece.
    """
    at, stop = start + 1, stop - 1
    while at < stop:
        end = STRING_PIECE.match(text, at, min(at + CHUNK_BYTES, stop)).end()  # type: ignore[union-attr]
        if end == at:
            raise NotJson(f"is not valid JSON: a malformed escape sequence, at byte {at:,}")
        yield parsed(b'"%b"' % text[at:end])
        at = end


class Scanner:
    """A position in a JSON document. `check` is called now and then, and may raise to stop."""

    def __init__(self, text: bytes, check: Callable[[], None]) -> None:
        self.text = text
        self.at = 0
        self._check = check

    def peek(self) -> int:
        """Skip white space and return the next byte."""
        self.at = skip_space(self.text, self.at)
        if self.at == len(self.text):
            raise self.invalid("it ends too early")
        return self.text[self.at]

    def value(self) -> Span:
        """Skip the next value and return its extent."""
        first = self.peek()
        start = self.at
        if first == QUOTE:
            self._skip_string()
        elif first in OPENING:
            self._skip_nested()
        else:
            scalar = SCALAR.match(self.text, start, start + LONGEST_NUMBER)
            if scalar is None:
                raise self.invalid("a value is missing")
            self.at = scalar.end()
        return start, self.at

    def items(self) -> Iterator[None]:
        """Yield before each item of the next list; the caller moves past the item."""
        yield from self._separated(b"[]")

    def members(self) -> Iterator[str]:
        """Yield the name of each member of the next object; the caller moves past its value."""
        for _ in self._separated(b"{}"):
            if self.peek() != QUOTE:
                raise self.invalid("a name in double quotes is missing")
            start, stop = self.value()
            if stop - start > CHUNK_BYTES:
                raise Invalid(f"has a name of {stop - start:,} bytes, at byte {start:,}")
            if self.peek() != COLON:
                raise self.invalid("a colon is missing")
            self.at += 1
            yield parsed(self.text[start:stop])

    def end(self) -> None:
        """Check that only white space is left."""
        if skip_space(self.text, self.at) != len(self.text):
            raise self.invalid("there is more after its end")

    def invalid(self, reason: str) -> NotJson:
        """Return an error at this position."""
        return NotJson(f"is not valid JSON: {reason}, at byte {self.at:,}")

    def _separated(self, brackets: bytes) -> Iterator[None]:
        opening, closing = brackets
        if self.peek() != opening:
            raise self.invalid(f"{chr(opening)} is missing")
        self.at += 1
        if self.peek() == closing:
            self.at += 1
            return
        count = 0
        while True:
            yield
            count += 1
            if not count % 256:
                self._check()
            separator = self.peek()
            self.at += 1
            if separator == closing:
                return
            if separator != COMMA:
                self.at -= 1
                raise self.invalid("a comma is missing")

    def _skip_nested(self) -> None:
        text, start, depth, brackets = self.text, self.at, 0, 0
        while True:
            flat = FLAT.match(text, self.at, self.at + CHUNK_BYTES)
            self.at = flat.end()  # type: ignore[union-attr]
            if self.at == len(text):
                raise self.invalid("it ends within a list or an object")
            mark = text[self.at]
            if mark == QUOTE:
                # It does not end within the chunk.
                self._skip_string()
                self._check()
                continue
            if mark not in BRACKETS:
                self._check()
                continue
            self.at += 1
            brackets += 1
            if not brackets % 4096:
                self._check()
                if brackets > SPARE_BRACKETS + BRACKETS_PER_BYTE * (self.at - start):
                    raise Invalid(f"has too many lists or objects, at byte {self.at:,}")
            depth += 1 if mark in OPENING else -1
            if depth > MAX_DEPTH:
                raise Invalid(f"is nested more than {MAX_DEPTH} deep")
            if not depth:
                return

    def _skip_string(self) -> None:
        text, start = self.text, self.at
        self.at += 1
        while True:
            before = self.at
            self.at = STRING.match(text, before, before + CHUNK_BYTES).end()  # type: ignore[union-attr]
            if text[self.at : self.at + 1] == b'"':
                self.at += 1
                return
            if self.at == before:
                self.at = start
                raise self.invalid("a string does not end")
            self._check()


def count_values(text: bytes) -> int:
    """Return an upper bound of the number of values in JSON text, without parsing it."""
    return 1 + sum(text.count(mark) for mark in (b",", b"[", b"{"))


def check_row(text: bytes, size: int) -> None:
    """Check that the JSON of a row has no more values, and no more bytes, than a row of `size`
    values can have.

    Raises:
        Invalid: it has more.
    """
    values, length = 2 * size + SPARE_VALUES, BYTES_PER_VALUE * size + SPARE_BYTES
    if count_values(text[:length]) > values:
        raise Invalid(f"has more than {values:,} values; a row of this model has {size:,}")
    if len(text) > length:
        raise Invalid(f"has {len(text):,} bytes; a row of this model has at most {length:,}")


def groups(spans: list[Span]) -> Iterator[list[Span]]:
    """Yield consecutive values in groups of about `CHUNK_BYTES`."""
    group: list[Span] = []
    for span in spans:
        if group and span[1] - group[0][0] > CHUNK_BYTES:
            yield group
            group = []
        group.append(span)
    if group:
        yield group
