"""NPZ files, and what was read from them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.ingest.schema import IMAGES, LABELS, ImageSchema, Schema, TableSchema
from tests.ml.ingest.reading import read

OF_FILES = {
    "large_integers",
    "left_out",
    "one_hot",
    "pixels",
    "sixteen_bit",
    "split",
    "unit",
    "unseen_class",
}


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def images_of(tmp_path: Path, options: dict[str, Any] | None = None, **arrays: Any) -> ImageSchema:
    schema = read(tmp_path, npz(**arrays), **(options or {}))
    assert isinstance(schema, ImageSchema)
    return schema


def table_of(tmp_path: Path, options: dict[str, Any] | None = None, **arrays: Any) -> TableSchema:
    schema = read(tmp_path, npz(**arrays), **(options or {}))
    assert isinstance(schema, TableSchema)
    return schema


def stored_images(tmp_path: Path) -> NDArray[np.uint8]:
    images: NDArray[np.uint8] = np.load(tmp_path / "into" / IMAGES)
    return images


def stored_labels(tmp_path: Path, schema: ImageSchema) -> list[str]:
    labels = np.load(tmp_path / "into" / LABELS).tolist()
    return [schema.classes[label].name for label in labels]


def kinds(schema: Schema) -> list[tuple[str | None, str]]:
    """The warnings about types and arrays; others are about values."""
    found = [(warning.column, warning.kind) for warning in schema.warnings]
    return [one for one in found if one[1] in OF_FILES]
