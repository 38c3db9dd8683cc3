"""Read an uploaded file into a data set's directory, laid out as in `ml.ingest.schema`.

The file is not trusted. Torch is not imported here.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile, is_zipfile

from ml.decoding import decoding
from ml.errors import Invalid
from ml.ingest import gzip_file, npz_file, table_file, zip_file
from ml.ingest.options import Options
from ml.ingest.other_files import refuse_documents
from ml.ingest.schema import MAX_SCHEMA_BYTES, Categorical, Schema
from ml.ingest.table_file import GZIP, ZIPS, start_of
from ml.ingest.warning import folded
from ml.ingest.zip_safety import check_archive, refusing_broken
from ml.integrity import seal

__all__ = ["Options", "Schema", "ingest"]

FileReader = Callable[[Path, Path, Options], Schema]

UNPACKED = "unpacked"


def ingest(source: Path, into: Path, options: Options) -> Schema:
    """Read the file `source` into the empty directory `into`, seal it, and return the schema of
    the data. The file type is detected from the first bytes. On any error, `into` is emptied.

    Raises:
        Invalid: the file cannot be read; the message says where and why.
        OSError: `into` cannot be written.
        MemoryError: the memory of the process is used up.
    """
    try:
        with decoding("the file", OSError, MemoryError):
            schema = _read(source, into, options)
        _check_size(schema)
        seal(into)
        schema = schema.model_copy(update={"warnings": folded(schema.warnings)})
    except BaseException:
        for path in into.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise
    return schema


def _read(source: Path, into: Path, options: Options) -> Schema:
    unpacked = into / UNPACKED
    try:
        if start_of(source).startswith(GZIP):
            source = gzip_file.unpack(source, unpacked)
        return _reader(source)(source, into, options)
    finally:
        unpacked.unlink(missing_ok=True)


def _reader(source: Path) -> FileReader:
    if not start_of(source).startswith(ZIPS):
        return table_file.read
    if not is_zipfile(source):
        raise Invalid("is a truncated or corrupt zip file; send it again")
    with refusing_broken():
        with ZipFile(source) as archive:
            refuse_documents(archive)
        check_archive(source)
        return npz_file.read if npz_file.is_npz(source) else zip_file.read


def _check_size(schema: Schema) -> None:
    # The warnings are bounded by themselves, and must not refuse a file.
    size = len(schema.model_dump_json(exclude={"warnings"}).encode())
    if size <= MAX_SCHEMA_BYTES:
        return
    columns = schema.columns if schema.kind == "table" else []
    widest = sorted(
        (column for column in columns if isinstance(column, Categorical)),
        key=lambda column: -len(column.model_dump_json()),
    )
    advice = (
        f"; make the columns with most categories text: {', '.join(c.name for c in widest[:3])}"
        if widest
        else "; shorten its names"
    )
    raise Invalid(
        f"has names and categories of {size:,} bytes in all; at most {MAX_SCHEMA_BYTES:,} are "
        f"allowed{advice}"
    )
