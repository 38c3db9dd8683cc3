"""Parquet files."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ml.errors import Invalid
from ml.ingest.names import check_names
from ml.ingest.options import Options
from ml.ingest.schema import TABLE, TableSchema
from ml.ingest.table_writer import TableWriter, check_size, check_types
from ml.spelling import ColumnKind, Gaps, Spelling

BATCH_ROWS = 65_536
FIRST_ROW = 1


def read(source: Path, into: Path, options: Options) -> TableSchema:
    """Read the Parquet file `source` into the directory `into`.

    Raises:
        Invalid: the file is corrupt or too large, or a column is neither numbers, strings nor
            booleans.
    """
    try:
        with pq.ParquetFile(source) as file:
            names = [name.strip() for name in file.schema_arrow.names]
            check_names(names)
            check_types(options.types, names)
            check_size(file.metadata.num_rows, len(names))
            inferred = [_kind(field) for field in file.schema_arrow]
            spellings = {
                name: Spelling(kind=options.types.get(name, kind))
                for name, kind in zip(names, inferred, strict=True)
            }
            gaps = options.gaps()
            with TableWriter(into / TABLE, spellings, gaps, FIRST_ROW) as writer:
                for batch in file.iter_batches(batch_size=BATCH_ROWS):
                    writer.add([_plain(column, gaps) for column in batch.columns])
            return writer.schema(options.types)
    except pa.ArrowMemoryError:
        raise
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise Invalid(f"is a corrupt Parquet file: {str(error)[:300]}") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise Invalid(f"is a corrupt Parquet file: {str(error)[:300]}") from None


def _kind(field: Any) -> ColumnKind:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numeric"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "categorical"
    raise Invalid(
        f"the column {field.name!r} is {field.type}; columns may be numbers, strings or booleans"
    )


def _plain(column: Any, gaps: Gaps) -> Any:
    """Return a column without dictionary encoding, its texts trimmed, null where missing."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_large_string(column.type):
        column = pc.cast(column, pa.string())
    return gaps.trimmed(column) if pa.types.is_string(column.type) else column
