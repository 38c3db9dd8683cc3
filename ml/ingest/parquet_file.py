"""Parquet files."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ml.errors import Invalid
from ml.ingest import typed_table
from ml.ingest.arrow_columns import Source, is_span, source_of, type_name
from ml.ingest.arrow_threads import needing_memory
from ml.ingest.names import check_names
from ml.ingest.options import Options
from ml.ingest.schema import TableSchema
from ml.ingest.selection import kept
from ml.ingest.typed_table import Findings, batch_rows
from ml.ingest.warning import quoted

MAX_METADATA = 16 * 1024 * 1024
"""Bytes of pandas' description of a table that are read."""
UNNAMED_INDEX = re.compile(r"__index_level_\d+__")


class _PandasMetadata(NamedTuple):
    """Metadata that pandas stores about the columns of a table."""

    indices: set[str]
    """Columns that were the index."""
    categories: set[str]
    """Columns of type `category`."""


def read(source: Path, into: Path, options: Options) -> TableSchema:
    """Read the Parquet file `source` into the directory `into`. Columns that cannot be used are
    left out, with a warning.

    Raises:
        Invalid: the file is corrupt or too large, no column can be used, or one does not have the
            kind that the user chose.
    """
    with _refusing_corrupt(), needing_memory(), pq.ParquetFile(source) as file:
        fields = {field.name.strip(): field for field in file.schema_arrow}
        check_names([name.strip() for name in file.schema_arrow.names])
        findings = Findings(options.types)
        wanted = {name: fields[name] for name in kept([*fields], options)}
        columns = _columns(wanted, _pandas_metadata(file.schema_arrow), findings)

        def batches(names: Sequence[str]) -> Iterator[list[Any]]:
            raw = [fields[name].name for name in names]
            for batch in file.iter_batches(batch_rows(len(raw)), columns=raw):
                # The name of a column may be the beginning of another's path.
                at = [batch.schema.get_field_index(name) for name in raw]
                yield [batch.column(index) for index in at]

        rows = file.metadata.num_rows
        return typed_table.write(batches, columns, rows, into, options, findings)


def _columns(
    fields: Mapping[str, Any], pandas: _PandasMetadata, findings: Findings
) -> dict[str, Source]:
    """Return the columns that can be read."""
    found: dict[str, Source] = {}
    for name, field in fields.items():
        source = source_of(field.type, field.name in pandas.categories)
        if field.name in pandas.indices:
            findings.leave_out(
                name,
                f"the column {quoted(name)} is the index of a pandas DataFrame; call reset_index() "
                "before it is saved to learn from it",
            )
        elif source is None:
            findings.leave_out(
                name,
                f"the column {quoted(name)} is {type_name(field.type)}; columns may be numbers, "
                "strings, booleans or dates",
            )
        else:
            found[name] = source
            if is_span(field.type):
                findings.warn(
                    name,
                    "unit",
                    f"{quoted(name)} is {type_name(field.type)}; it is read as numbers of seconds",
                )
    return found


@contextmanager
def _refusing_corrupt() -> Iterator[None]:
    try:
        yield
    except pa.ArrowMemoryError:
        raise
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise Invalid(f"is a corrupt Parquet file: {str(error)[:300]}") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise Invalid(f"is a corrupt Parquet file: {str(error)[:300]}") from None


def _pandas_metadata(schema: Any) -> _PandasMetadata:
    indices = {name for name in schema.names if UNNAMED_INDEX.fullmatch(name)}
    text = (schema.metadata or {}).get(b"pandas", b"")
    document: object = None
    if len(text) <= MAX_METADATA:
        with suppress(ValueError, RecursionError):
            document = json.loads(text)
    match document:
        case {"index_columns": [*found]}:
            indices |= {name for name in found if isinstance(name, str)}
    columns: list[object] = []
    match document:
        case {"columns": [*found]}:
            columns = found
    categories = set()
    for column in columns:
        match column:
            case {"field_name": str(name), "pandas_type": "categorical"}:
                categories.add(name)
    return _PandasMetadata(indices, categories)
