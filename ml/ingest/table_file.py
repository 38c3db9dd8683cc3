"""Files of one table: Parquet, or text, told by their first bytes."""

from pathlib import Path
from zipfile import ZipFile, is_zipfile

from ml.errors import Invalid
from ml.ingest import csv_file, parquet_file
from ml.ingest.options import Options
from ml.ingest.other_files import refuse_documents, refuse_others
from ml.ingest.schema import TableSchema

PARQUET = b"PAR1"
GZIP = b"\x1f\x8b"
ZIPS = (b"PK\x03\x04", b"PK\x05\x06")
"""First bytes of zip files, of those without members too."""


def read(source: Path, into: Path, options: Options) -> TableSchema:
    """Read the file `source` into the directory `into`.

    Raises:
        Invalid: the file cannot be read; the message says where and why.
    """
    start = start_of(source)
    if not start:
        raise Invalid("is empty; send CSV, Parquet, NPZ or a zip of images")
    if start.startswith(GZIP):
        raise Invalid("is packed with gzip twice; unpack it first")
    if start.startswith(ZIPS):
        _refuse_zip(source)
    refuse_others(source)
    if start.startswith(PARQUET):
        return parquet_file.read(source, into, options)
    return csv_file.read(source, into, options)


def start_of(source: Path) -> bytes:
    """Return the first bytes of a file."""
    with source.open("rb") as file:
        return file.read(8)


def _refuse_zip(source: Path) -> None:
    if is_zipfile(source):
        with ZipFile(source) as archive:
            refuse_documents(archive)
    raise Invalid("is a zip file within a zip; send it by itself")
