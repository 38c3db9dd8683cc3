"""Text files of any encoding, as UTF-8."""

import codecs
from pathlib import Path

from ml.errors import Invalid
from ml.ingest.options import Encoding

MIB = 1024 * 1024
WIDE = {"utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)}


def as_utf8(source: Path, encoding: Encoding | None, copy: Path) -> Path:
    """Return a file of the text of `source` in UTF-8: `source` itself, or `copy`, which is written.

    Raises:
        Invalid: the file is not text of the encoding.
    """
    if encoding in (None, "utf-8"):
        _check_utf8(source)
        return source
    try:
        with source.open(encoding=encoding, newline="") as text, copy.open("wb") as file:
            while part := text.read(MIB):
                file.write(part.encode())
    except UnicodeError as error:
        raise Invalid(f"is not in the encoding {encoding}: {error}") from None
    _check_utf8(copy)
    return copy


def _check_utf8(source: Path) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with source.open("rb") as file:
        start = file.read(4)
        for encoding, marks in WIDE.items():
            if start.startswith(marks):
                raise Invalid(f"looks like {encoding.upper()}; if it is, set encoding={encoding}")
        file.seek(0)
        while chunk := file.read(MIB):
            if b"\0" in chunk:
                line += chunk.count(b"\n", 0, chunk.index(b"\0"))
                raise Invalid(
                    f"has a NUL byte in line {line}: it is not UTF-8 text; if it is UTF-16, set "
                    "encoding=utf-16"
                )
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                raise _not_utf8(line + chunk.count(b"\n", 0, max(error.start, 0))) from None
            line += chunk.count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise _not_utf8(line) from None


def _not_utf8(line: int) -> Invalid:
    return Invalid(
        f"line {line} is not UTF-8; if the file has another encoding, set it, for example "
        "encoding=latin-1"
    )
