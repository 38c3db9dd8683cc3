"""The first rows of an uploaded data set."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ml.images.encode import png_base64
from ml.ingest.schema import ImageSchema, Schema, TableSchema
from ml.ingest.stored import open_table, read_images, read_labels, shape_of
from ml.spelling import as_texts

MAX_VALUES = 100_000
MAX_PIXELS = 4_000_000
MAX_TEXT = 200
"""Maximum characters of a text; of longer ones the beginning is shown."""


def preview(schema: Schema, directory: Path, count: int) -> list[list[object]]:
    """Return up to `count` rows of `directory`, at least one: a table's values in the order of its
    columns, None where missing; or the class of an image and the image as a `data:` URL of a PNG.
    All rows together have at most `MAX_VALUES` values or `MAX_PIXELS` pixels.

    Raises:
        Damaged: the rows are missing, or are not as they were written.
    """
    if isinstance(schema, TableSchema):
        return _rows(directory, min(count, max(1, MAX_VALUES // len(schema.columns))))
    pixels = schema.channels * schema.height * schema.width
    return _images(schema, directory, min(count, max(1, MAX_PIXELS // pixels)))


def _rows(directory: Path, count: int) -> list[list[object]]:
    with open_table(directory) as file:
        batch = next(file.iter_batches(batch_size=count), None)
    if batch is None:
        return []
    columns = [_shortened(column).to_pylist() for column in batch.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _shortened(column: Any) -> Any:
    if pa.types.is_temporal(column.type):
        return as_texts(column)
    if not pa.types.is_string(column.type):
        return column
    beginning = pc.binary_join_element_wise(pc.utf8_slice_codeunits(column, 0, MAX_TEXT), "…", "")
    return pc.if_else(pc.greater(pc.utf8_length(column), MAX_TEXT), beginning, column)


def _images(schema: ImageSchema, directory: Path, count: int) -> list[list[object]]:
    images = read_images(directory, (schema.rows, *shape_of(schema)))[:count]
    labels = read_labels(directory, schema.rows, len(schema.classes))[:count]
    return [
        [schema.classes[label].name, f"data:image/png;base64,{png_base64(image)}"]
        for label, image in zip(labels.tolist(), images, strict=True)
    ]
