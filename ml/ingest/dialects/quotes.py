"""Quotation marks of a whole file: a field that opens with one ends with one.

Readers of CSV join what follows a mark that is not closed, or not doubled, without a word.
"""

import re
from pathlib import Path

from ml.errors import Invalid
from ml.ingest.dialects.limits import BLOCK_BYTES, BOM, MIB, too_long

ADVICE = (
    "double quotation marks within a quoted field, or, if they are ordinary characters of this "
    "file, set quote=none"
)


class OddQuotes(Invalid):
    """A quotation mark is not closed, or not doubled."""


def check_quotes(source: Path, delimiter: str, quote: str) -> None:
    """Check the fields of a file. A mark within a field that does not start with one is an ordinary
    character.

    Raises:
        OddQuotes: a quoted field goes on after its end, or has none.
        Invalid: a row is too long.
    """
    mark, edge = quote.encode(), delimiter.encode()
    fields, quoted = _fields(mark, edge), _quoted(mark)
    with source.open("rb") as file:
        if file.read(len(BOM)) != BOM:
            file.seek(0)
        line, rest = 1, b""
        while chunk := file.read(MIB):
            if mark not in chunk and not rest.startswith(mark):
                cut = 1 + max(chunk.rfind(end) for end in (edge, b"\n", b"\r"))
                line += _lines(chunk[:cut])
                rest = chunk[cut:] if cut else rest + chunk
            else:
                text = rest + chunk
                cut = _end(fields, text)
                line += _lines(text[:cut])
                rest = text[cut:]
                if rest.startswith(mark) and _goes_on(quoted, rest, edge):
                    raise _goes_on_at(line, rest)
            if len(rest) > BLOCK_BYTES:
                raise _never_closed(line) if rest.startswith(mark) else too_long()
    if rest.startswith(mark):
        found = quoted.match(rest)
        if found is None:
            raise OddQuotes(
                f"line {line} has a quotation mark ({quote}) that is not closed; {ADVICE}"
            )
        if found.end() < len(rest):
            raise _goes_on_at(line, rest)


def _end(fields: re.Pattern[bytes], text: bytes) -> int:
    found = fields.match(text)
    return found.end() if found else 0


def _goes_on(quoted: re.Pattern[bytes], rest: bytes, edge: bytes) -> bool:
    """Whether the quoted field at the start of `rest` is followed by more than its end."""
    found = quoted.match(rest)
    return (
        found is not None
        and found.end() < len(rest)
        and rest[found.end() :][:1]
        not in (
            edge,
            b"\n",
            b"\r",
        )
    )


def _goes_on_at(line: int, rest: bytes) -> OddQuotes:
    start = rest[:40].splitlines()[0].decode("utf-8", "replace")
    return OddQuotes(
        f"line {line} has a quoted field that goes on after its closing quotation mark: {start!r}; "
        f"{ADVICE}"
    )


def _never_closed(line: int) -> OddQuotes:
    return OddQuotes(
        f"{too_long().msg}: line {line} has a quotation mark that is not closed; {ADVICE}"
    )


def _lines(text: bytes) -> int:
    """Return the number of line ends: \\n, or \\r if that is all there is."""
    return text.count(b"\n") or text.count(b"\r")


def _quoted(mark: bytes) -> re.Pattern[bytes]:
    return re.compile(mark + rb"(?:[^" + mark + rb"]++|" + mark * 2 + rb")*+" + mark + rb" *+")


def _fields(mark: bytes, edge: bytes) -> re.Pattern[bytes]:
    """Return the pattern of whole fields, each with the delimiter or line end after it."""
    ends = re.escape(edge) + rb"\r\n"
    quoted = mark + rb"(?:[^" + mark + rb"]++|" + mark * 2 + rb")*+" + mark + rb" *+"
    plain = rb"[^" + mark + ends + rb"][^" + ends + rb"]*+"
    return re.compile(rb"(?:(?:" + quoted + rb"|" + plain + rb")?+[" + ends + rb"])*+")
