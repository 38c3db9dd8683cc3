"""CSV files and the like: lines of fields, as `ml.ingest.dialects` finds them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from ml.errors import Invalid
from ml.ingest import json_file
from ml.ingest.arrow_threads import needing_memory
from ml.ingest.dialects.dialect import Dialect
from ml.ingest.dialects.find import find_dialect
from ml.ingest.dialects.limits import BLOCK_BYTES, too_long
from ml.ingest.encodings import as_utf8
from ml.ingest.names import shown
from ml.ingest.options import Options
from ml.ingest.schema import TableSchema
from ml.ingest.table_writer import check_size
from ml.ingest.text_table import read_table

COPIES = ("utf8", "rewritten")


def read(source: Path, into: Path, options: Options) -> TableSchema:
    """Read the text file `source`, of lines of fields or JSON objects, into the directory `into`.

    Raises:
        Invalid: the file cannot be read; the message names row and column.
    """
    utf8, rewritten = (into / name for name in COPIES)
    try:
        source = as_utf8(source, options.encoding, utf8)
        if json_file.is_json(source):
            return read_table(json_file.open_table(source), into, options)
        found = find_dialect(source, options, rewritten)
        return read_table(_Table(found.path, found.dialect), into, options)
    finally:
        utf8.unlink(missing_ok=True)
        rewritten.unlink(missing_ok=True)


class _Table:
    """The rows of a file, every field text."""

    def __init__(self, source: Path, dialect: Dialect) -> None:
        self._source = source
        self._dialect = dialect
        self._ragged: Invalid | None = None
        self.names = dialect.names
        self.unnamed = dialect.unnamed
        self.quoted = dialect.quoted
        self.first_row = dialect.first_row
        self.warnings = dialect.warnings
        self.decimal_comma = dialect.delimiter == ";"

    def batches(self) -> Iterator[list[Any]]:
        """Yield batches of rows: for each column its texts."""
        rows = 0
        try:
            with needing_memory():
                for batch in self._open():
                    check_size(rows := rows + batch.num_rows, len(self.names))
                    yield batch.columns
        except pa.ArrowInvalid as error:
            raise self._ragged or _explained(error) from None

    def _open(self) -> Any:
        dialect = self._dialect
        fields = [str(place) for place in range(dialect.width)]
        file = pa.OSFile(str(self._source))
        file.seek(dialect.offset)
        return pacsv.open_csv(
            file,
            pacsv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False, column_names=fields),
            pacsv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote or False,
                newlines_in_values=dialect.quote is not None,
                invalid_row_handler=self._note_ragged,
            ),
            pacsv.ConvertOptions(
                column_types=dict.fromkeys(fields, pa.string()),
                include_columns=[fields[place] for place in dialect.positions],
                strings_can_be_null=False,
            ),
        )

    def _note_ragged(self, row: Any) -> str:
        text = row.text.strip()
        if not text or (self._dialect.has_comments and text.startswith("#")):
            return "skip"
        # pyarrow would discard an exception raised here.
        number = self._dialect.first_row - 1 + row.number
        self._ragged = Invalid(
            f"row {number} has {row.actual_columns} fields, but the header has "
            f"{row.expected_columns}: {shown(row.text)}"
        )
        return "error"


def _explained(error: Exception) -> Invalid:
    text = str(error)
    if "straddling" in text:
        return too_long()
    if "Empty CSV" in text:
        return Invalid("has no rows below its header")
    return Invalid(f"cannot be read: {text[:300]}")
