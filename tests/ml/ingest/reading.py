"""Files read as uploads are, and what was stored of them."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ml.errors import Invalid
from ml.ingest import Options, ingest
from ml.ingest.schema import IMAGES, LABELS, TABLE, ImageSchema, Schema, TableSchema
from ml.integrity import CHECKSUMS


def read(directory: Path, content: bytes | str, **options: Any) -> Schema:
    """Read a file into the folder `into` of `directory`, in place of the one before."""
    source, into = directory / "source", directory / "into"
    source.write_bytes(content.encode() if isinstance(content, str) else content)
    if into.exists():
        shutil.rmtree(into)
    into.mkdir()
    try:
        return ingest(source, into, Options(**options))
    except Invalid:
        assert list(into.iterdir()) == [], "nothing stays of a refused file"
        raise


def read_table(directory: Path, content: bytes | str, **options: Any) -> TableSchema:
    schema = read(directory, content, **options)
    assert isinstance(schema, TableSchema)
    assert {path.name for path in (directory / "into").iterdir()} == {TABLE, CHECKSUMS}
    return schema


def read_images(directory: Path, content: bytes, **options: Any) -> ImageSchema:
    schema = read(directory, content, **options)
    assert isinstance(schema, ImageSchema)
    assert {path.name for path in (directory / "into").iterdir()} == {IMAGES, LABELS, CHECKSUMS}
    return schema


def stored_rows(directory: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(directory / "into" / TABLE).to_pylist()
    return found
