"""Texts of unusual form, rewritten in the usual one: a delimiter, doubled quotation marks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ml.ingest.dialects.limits import BLOCK_BYTES, MIB, too_long

MAX_CUTS = 1000
"""Maximum number of line ends that are tried to cut a text outside of quotation marks."""


@dataclass(frozen=True)
class Rewriting:
    """The forms that are rewritten as plain ones."""

    escape: bool = False
    r"""Whether quotation marks are escaped as \" instead of doubled."""
    blanks: bool = False
    """Whether runs of blanks divide fields; they become tabs."""
    padded: str | None = None
    """Delimiter after which blanks may precede a quotation mark; None: none do."""
    quote: str | None = '"'

    def apply(self, text: bytes) -> bytes:
        """Return whole lines rewritten."""
        quote = self.quote.encode() if self.quote else None
        if self.escape and quote and b"\\" + quote in text:
            text = _escapes(quote).sub(lambda found: found[1] or quote * 2, text)
        if self.padded and quote:
            padding = _padding(quote, self.padded.encode())
            text = padding.sub(lambda found: found[1] or b"", text)
        if self.blanks:
            text = _tabbed(text, quote)
        return text

    @property
    def is_needed(self) -> bool:
        """Whether anything is rewritten."""
        return self.escape or self.blanks or self.padded is not None

    def copy(self, source: Path, offset: int, copy: Path) -> Path:
        """Write the file `source` from `offset` on, rewritten, to `copy`.

        Raises:
            Invalid: a line is too long.
        """
        with copy.open("wb") as file:
            for lines in self._whole_lines(source, offset):
                file.write(self.apply(lines))
        return copy

    def _whole_lines(self, source: Path, offset: int) -> Iterator[bytes]:
        """Yield the lines of a file, many at a time."""
        rest = b""
        with source.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(MIB):
                rest += chunk
                cut = self._cut(rest)
                if cut:
                    yield rest[:cut]
                    rest = rest[cut:]
                elif len(rest) > BLOCK_BYTES:
                    raise too_long()
        yield rest

    def _cut(self, text: bytes) -> int:
        """Return the end of the last line that no quoted field crosses, 0 if there is none."""
        line_end = b"\n" if b"\n" in text else b"\r"
        quote = self.quote.encode() if self.quote else b""
        last = cut = text.rfind(line_end) + 1
        if not quote:
            return cut
        inside = text.count(quote, 0, cut) % 2
        for _ in range(MAX_CUTS):
            if not inside or not cut:
                return cut
            before = text.rfind(line_end, 0, cut - 1) + 1
            inside ^= text.count(quote, before, cut) % 2
            cut = before
        return last


def _tabbed(text: bytes, quote: bytes | None) -> bytes:
    if quote is None or quote not in text:
        return b"\n".join(b"\t".join(line.split()) for line in text.splitlines()) + b"\n"
    pieces = _blanks(quote).sub(lambda found: found[1] or b"\t", text)
    return re.sub(rb"(?m)^\t+|\t+(?=[\r\n]|\Z)", b"", pieces)


@lru_cache(maxsize=4)
def _escapes(quote: bytes) -> re.Pattern[bytes]:
    r"""Match \" and, to be kept with one of the backslashes, \\"."""
    return re.compile(rb"\\(\\" + quote + rb")|\\" + quote)


@lru_cache(maxsize=16)
def _padding(quote: bytes, delimiter: bytes) -> re.Pattern[bytes]:
    """Match quoted fields, to be kept, and blanks before one."""
    edge = re.escape(delimiter)
    return re.compile(
        rb"((?<![^\r\n" + edge + rb"])" + _quoted(quote) + rb")"
        rb"|(?<=[\r\n" + edge + rb"]) ++(?=" + quote + rb")"
    )


@lru_cache(maxsize=4)
def _blanks(quote: bytes) -> re.Pattern[bytes]:
    """Match quoted fields, to be kept, and runs of blanks."""
    return re.compile(rb"((?<![^\s])" + _quoted(quote) + rb")|[ \t]++")


def _quoted(quote: bytes) -> bytes:
    return quote + rb"(?:[^" + quote + rb"]++|" + quote * 2 + rb")*+" + quote
