"""CSV files: header, kinds of the columns, rows."""

import codecs
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from ml.errors import Invalid
from ml.ingest.names import check_names, shown
from ml.ingest.options import Options
from ml.ingest.schema import TABLE, TableSchema
from ml.ingest.selection import kept
from ml.ingest.table_writer import TableWriter, check_size, warnings_of
from ml.spelling import guess_spellings

MIB = 1024 * 1024
BLOCK_BYTES = 4 * MIB
"""Bytes read at a time, and the maximum length of a row."""
HEADER_BYTES = 64 * 1024
DELIMITERS = (",", ";", "\t", "|")
FIRST_ROW = 2
"""Number of the first row below the header, as in a spreadsheet; empty lines are not counted."""
WIDE = {"utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)}


def read(source: Path, into: Path, options: Options) -> TableSchema:
    """Read the CSV file `source` into the directory `into`.

    Raises:
        Invalid: the file cannot be read as CSV; the message names row and column.
    """
    if options.encoding not in (None, "utf-8"):
        source = _as_utf8(source, into / "utf8", str(options.encoding))
    try:
        _check_text(source)
        table = _Table(source, options)
        hints = options.hints(decimal_comma=table.delimiter == ";")
        spellings, findings = guess_spellings(table.names, table.batches, FIRST_ROW, hints)
        with TableWriter(into / TABLE, spellings, options.gaps(), FIRST_ROW) as writer:
            for batch in table.batches():
                writer.add(batch)
        return writer.schema(options.types, warnings_of(findings))
    finally:
        (into / "utf8").unlink(missing_ok=True)


def _as_utf8(source: Path, copy: Path, encoding: str) -> Path:
    try:
        with source.open(encoding=encoding, newline="") as text, copy.open("wb") as file:
            while part := text.read(MIB):
                file.write(part.encode())
    except UnicodeError as error:
        raise Invalid(f"is not in the encoding {encoding}: {error}") from None
    return copy


def _check_text(source: Path) -> None:
    """Check that the file is UTF-8 text with balanced quotes.

    Raises:
        Invalid: it is not.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    row, quotes = 1, 0
    with source.open("rb") as file:
        start = file.read(4)
        for encoding, marks in WIDE.items():
            if start.startswith(marks):
                raise Invalid(f"looks like {encoding.upper()}; if it is, set encoding={encoding}")
        file.seek(0)
        while chunk := file.read(MIB):
            if b"\0" in chunk:
                row += chunk.count(b"\n", 0, chunk.index(b"\0"))
                raise Invalid(
                    f"has a NUL byte in line {row}: it is not UTF-8 text; if it is UTF-16, set "
                    "encoding=utf-16"
                )
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                raise _not_utf8(row + chunk.count(b"\n", 0, max(error.start, 0))) from None
            row += chunk.count(b"\n")
            quotes += chunk.count(b'"')
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise _not_utf8(row) from None
    if quotes % 2:
        # Everything after the open quote would be one field.
        raise Invalid(
            'has an odd number of quotation marks ("): one is not closed, or one within a field is '
            "not doubled"
        )


def _not_utf8(row: int) -> Invalid:
    return Invalid(
        f"line {row} is not UTF-8; if the file has another encoding, set it, for example "
        "encoding=latin-1"
    )


class _Table:
    """The file's records, every field text or null."""

    def __init__(self, source: Path, options: Options) -> None:
        self._source = source
        self._ragged: Invalid | None = None
        self.delimiter = options.delimiter or _delimiter(source)
        self._gaps = options.gaps()
        header = self._header()
        check_names([name.strip() for name in header])
        self.names = kept([name.strip() for name in header], options)
        self._names = [name for name in header if name.strip() not in options.ignore]

    def batches(self) -> Iterator[list[Any]]:
        """Yield batches of rows: for each column the trimmed texts, null where missing."""
        wanted = pacsv.ConvertOptions(
            column_types=dict.fromkeys(self._names, pa.string()),
            include_columns=self._names,
            strings_can_be_null=False,
        )
        rows = 0
        for batch in self._parsed(wanted):
            check_size(rows := rows + batch.num_rows, len(self.names))
            yield [self._gaps.trimmed(column) for column in batch.columns]

    def _header(self) -> list[str]:
        reader = self._open(pacsv.ConvertOptions())
        return list(reader.schema.names)

    def _parsed(self, convert: Any) -> Iterator[Any]:
        try:
            yield from self._open(convert)
        except pa.ArrowInvalid as error:
            raise self._ragged or _explained(error) from None

    def _open(self, convert: Any) -> Any:
        try:
            return pacsv.open_csv(
                self._source,
                pacsv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
                pacsv.ParseOptions(
                    delimiter=self.delimiter,
                    newlines_in_values=True,
                    invalid_row_handler=self._note_ragged,
                ),
                convert,
            )
        except pa.ArrowInvalid as error:
            raise self._ragged or _explained(error) from None

    def _note_ragged(self, row: Any) -> str:
        # pyarrow would discard an exception raised here.
        self._ragged = Invalid(
            f"row {row.number} has {row.actual_columns} fields, but the header has "
            f"{row.expected_columns}: {shown(row.text)}"
        )
        return "error"


def _explained(error: Exception) -> Invalid:
    text = str(error)
    if "straddling" in text:
        return Invalid(f"has a row of over {BLOCK_BYTES // MIB} MiB, the maximum")
    if "Empty CSV" in text:
        return Invalid("has no rows below its header")
    return Invalid(f"cannot be read: {text[:300]}")


def _delimiter(source: Path) -> str:
    """Return the most frequent delimiter of the first line, outside quotes."""
    with source.open("rb") as file:
        header = file.readline(HEADER_BYTES).decode("utf-8", "ignore")
    outside = "".join(header.split('"')[::2])
    counts = Counter(character for character in outside if character in DELIMITERS)
    return max(DELIMITERS, key=lambda delimiter: counts[delimiter])
