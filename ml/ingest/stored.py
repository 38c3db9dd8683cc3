"""Readers of stored data sets, which check the files and their form.

Raises:
    Damaged: a file is missing, is not as it was written, or does not have the form of the schema.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ml import integrity
from ml.errors import Damaged
from ml.ingest.schema import IMAGES, LABELS, TABLE, ImageSchema, Schema, TableSchema


def check(schema: Schema, directory: Path, again: bool = False) -> None:
    """Check all files of a data set. Unless `again`, those that have not changed since this process
    last checked them are not read again."""
    if integrity.is_sealed(directory):
        integrity.check(directory, again)
    if isinstance(schema, ImageSchema):
        read_images(directory, (schema.rows, *shape_of(schema)))
        read_labels(directory, schema.rows, len(schema.classes))
        return
    with open_table(directory) as table:
        found = table.metadata.num_rows, table.schema_arrow.names
    _compare(directory / TABLE, "rows and columns", found, _rows_and_columns(schema))


def shape_of(schema: ImageSchema) -> tuple[int, ...]:
    """Return the shape of one image."""
    size = schema.height, schema.width
    return size if schema.channels == 1 else (schema.channels, *size)


@contextmanager
def open_table(directory: Path) -> Iterator[pq.ParquetFile]:
    """Open the file of a table."""
    path = integrity.checked(directory, TABLE)
    with _understood(path), pq.ParquetFile(path) as file:
        yield file


def read_table(directory: Path, columns: Sequence[str]) -> Any:
    """Return some columns of a table."""
    path = integrity.checked(directory, TABLE)
    with _understood(path):
        return pq.read_table(path, columns=list(columns))


def read_images(
    directory: Path, shape: tuple[int, ...], mode: Literal["r", "c"] = "r"
) -> NDArray[np.uint8]:
    """Return the images, memory-mapped: to read only, or to copy what is written."""
    images: NDArray[np.uint8] = _array(directory, IMAGES, np.dtype(np.uint8), shape, mode)
    return images


def read_labels(directory: Path, rows: int, classes: int) -> NDArray[np.int64]:
    """Return the class of each image."""
    labels: NDArray[np.int64] = _array(directory, LABELS, np.dtype(np.int64), (rows,), "c")
    if rows and not (labels.min() >= 0 and labels.max() < classes):
        raise Damaged(directory / LABELS, f"has a label that is not one of {classes} classes")
    return labels


def _array(
    directory: Path,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    mode: Literal["r", "c"],
) -> NDArray[Any]:
    path = integrity.checked(directory, name)
    with _understood(path):
        array: NDArray[Any] = np.load(path, mmap_mode=mode)
    _compare(path, "dtype and shape", (array.dtype, array.shape), (dtype, shape))
    return array


def _rows_and_columns(schema: TableSchema) -> tuple[int, list[str]]:
    return schema.rows, [column.name for column in schema.columns]


def _compare(path: Path, what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Damaged(path, f"has other {what} than when it was written")


@contextmanager
def _understood(path: Path) -> Iterator[None]:
    """Any error of a parser within the context is damage."""
    try:
        yield
    except (Damaged, MemoryError):
        raise
    except Exception as error:
        raise Damaged(path, f"cannot be understood: {error}") from error
