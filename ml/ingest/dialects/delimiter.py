"""The delimiter of a text file: the character that divides its lines most evenly."""

import re
from collections import Counter
from collections.abc import Sequence

from ml.ingest.dialects.header import is_index_header
from ml.ingest.dialects.records import Record, records
from ml.ingest.dialects.rewriting import Rewriting
from ml.ingest.dialects.values import is_number

DELIMITERS = ("\t", ";", "|", ",")
"""Delimiters, those first that rarely are part of a value: where several divide the lines evenly,
the first is right, as in lines of numbers with decimal commas, divided by semicolons."""
EVEN = 0.9
"""Share of lines of the same width from which blanks are not considered."""
PREAMBLE = re.compile(r"\A(?:[ \t]*(?:#[^\r\n]*)?(?:\r\n|\r|\n))+")
"""Empty lines and comments above a table."""


def find_delimiter(text: str, quote: str | None) -> str | None:
    """Return the delimiter of the lines of `text`; None if they are divided by runs of blanks."""
    text = PREAMBLE.sub("", text) or text
    best, evenness = ",", 0.0
    for delimiter in DELIMITERS:
        width, share = _width(records(text, delimiter, quote))
        if width > 1 and share > evenness:
            best, evenness = delimiter, share
    return None if evenness < EVEN and _has_blanks(text, quote) else best


def usual_width(lines: Sequence[Record]) -> int:
    """Return the most frequent number of fields of `lines`."""
    return _width(lines)[0]


def _width(lines: Sequence[Record]) -> tuple[int, float]:
    """Return the most frequent number of fields, and the share of lines that have it."""
    widths = Counter(len(line.fields) for line in lines if line.filled)
    if not widths:
        return 1, 0.0
    width = max(widths, key=lambda width: (widths[width], width))
    return width, widths[width] / widths.total()


def _has_blanks(text: str, quote: str | None) -> bool:
    """Whether runs of blanks divide every line into as many fields, one of them always a number.
    The first line, of names, may have one less."""
    tabbed = Rewriting(blanks=True, quote=quote).apply(text.encode()).decode()
    lines = [line for line in records(tabbed, "\t", quote) if line.filled]
    if len(lines) < 2:
        return False
    width = len(lines[1].fields)
    return (
        width > 1
        and (len(lines[0].fields) == width or is_index_header(lines[0], lines[1:], "\t"))
        and all(len(line.fields) == width for line in lines[1:])
        and any(all(is_number(line.fields[place]) for line in lines[1:]) for place in range(width))
    )
