"""The beginning of a text file, which tells its form."""

import re
from dataclasses import dataclass
from pathlib import Path

from ml.ingest.dialects.limits import BLOCK_BYTES, BOM, too_long

SAMPLE_LINES = 1000
SEPARATOR = re.compile(r'"?sep=([^\r\n])"?(?:\r\n|\r|\n)', re.IGNORECASE)
"""First line with which Excel is told the delimiter."""
LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Sample:
    """Whole lines at the beginning of a file, without marks that are not of the table."""

    text: str
    offset: int
    """Bytes before it."""
    is_whole: bool
    """Whether it has all lines of the file."""
    delimiter: str | None
    """Delimiter that the file names, as Excel writes it: `sep=;`."""

    def bytes_before(self, characters: int) -> int:
        """Return the number of bytes of the file before a character of the sample."""
        return self.offset + len(self.text[:characters].encode())


def read_sample(source: Path) -> Sample:
    """Return the first lines of a file of UTF-8 text.

    Raises:
        Invalid: the first line is too long.
    """
    with source.open("rb") as file:
        start = file.read(BLOCK_BYTES)
        is_whole = not file.read(1)
    offset = len(BOM) if start.startswith(BOM) else 0
    if not is_whole:
        cut = 1 + max(start.rfind(b"\n"), start.rfind(b"\r"))
        if not cut:
            raise too_long()
        start = start[:cut]
    text = start[offset:].decode("utf-8", "replace")
    named = SEPARATOR.match(text)
    if named:
        offset, text = offset + len(named[0].encode()), text[named.end() :]
    for count, line_end in enumerate(LINE_END.finditer(text), start=1):
        if count == SAMPLE_LINES and line_end.end() < len(text):
            text, is_whole = text[: line_end.end()], False
            break
    return Sample(text, offset, is_whole, named[1] if named else None)
