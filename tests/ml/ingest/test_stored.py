"""Damaged files of data sets are found before their rows are used."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.datasets.uploads import Upload, UploadRequest, UploadSpec
from ml.errors import Damaged, DataUnavailable
from ml.ingest import stored
from ml.ingest.preview import preview
from ml.ingest.schema import IMAGES, LABELS, TABLE
from ml.integrity import CHECKSUMS
from tests.damages import DAMAGES
from tests.ml.shelf import Shelf

TABLE_ROWS = "a,b\n" + "\n".join(f"{i},{i * i}" for i in range(50))


def images(count: int = 20, classes: int = 2) -> bytes:
    file = io.BytesIO()
    pixels = np.arange(count * 30, dtype=np.uint8).reshape(count, 5, 6)
    np.savez(file, x=pixels, y=np.arange(count) % classes)
    return file.getvalue()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def put(shelf: Shelf, name: str) -> tuple[Upload, UploadSpec]:
    """Store the data set that has the file `name`; return it, and a job's spec of it."""
    number = shelf.put(TABLE_ROWS) if name == TABLE else shelf.put(images())
    request = UploadRequest(kind="upload", id=number, target="b" if name == TABLE else None)
    upload = shelf.find(number)
    return upload, request.resolve_for(upload)


@pytest.mark.parametrize("name", [TABLE, IMAGES, LABELS])
def test_intact_files_are_read(shelf: Shelf, name: str) -> None:
    upload, spec = put(shelf, name)
    stored.check(upload.schema, upload.directory, again=True)
    assert len(spec.load(shelf.root).rows) == upload.schema.rows
    assert len(preview(upload.schema, upload.directory, 3)) == 3


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [TABLE, IMAGES, LABELS])
def test_damage_is_found(shelf: Shelf, name: str, damage: str, sealed: bool) -> None:
    if damage == "flipped" and not sealed:
        pytest.skip("nothing but a checksum can show a flipped bit, and these files have none")
    upload, spec = put(shelf, name)
    if not sealed:
        (upload.directory / CHECKSUMS).unlink()
    DAMAGES[damage](upload.directory / name)
    with pytest.raises(Damaged, match=f"the data set {upload.id} is damaged: .*{name}"):
        spec.load(shelf.root)
    with pytest.raises(Damaged, match=name):
        stored.check(upload.schema, upload.directory)
    with pytest.raises(Damaged, match=name):
        preview(upload.schema, upload.directory, 3)


def test_table_that_is_damaged_cannot_be_named_by_a_job(shelf: Shelf) -> None:
    upload, _ = put(shelf, TABLE)
    (upload.directory / TABLE).unlink()
    with pytest.raises(Damaged, match=f"the data set {upload.id} is damaged: .* is missing"):
        UploadRequest(kind="upload", id=upload.id, target="b").resolve_for(upload)


def test_missing_directory_is_told(shelf: Shelf) -> None:
    upload, spec = put(shelf, TABLE)
    shutil.rmtree(upload.directory)
    with pytest.raises(DataUnavailable, match=f"the data set {upload.id} was deleted, or its"):
        spec.load(shelf.root)


@pytest.mark.parametrize("name", [TABLE, IMAGES, LABELS])
def test_files_of_another_data_set_are_damage(shelf: Shelf, name: str) -> None:
    upload, spec = put(shelf, name)
    other = shelf.put("a,b\n1,2\n2,3\n") if name == TABLE else shelf.put(images(30, 3))
    shutil.rmtree(upload.directory)
    shutil.copytree(shelf.find(other).directory, upload.directory)
    with pytest.raises(Damaged, match="than when it was written"):
        spec.load(shelf.root)
    with pytest.raises(Damaged, match="than when it was written"):
        stored.check(upload.schema, upload.directory)


def _save(array: Any) -> Callable[[Path], None]:
    return lambda path: np.save(path, array)


@pytest.mark.parametrize(
    ("name", "write", "fault"),
    [
        (LABELS, _save(np.arange(20)), "has a label that is not one of 2 classes"),
        (LABELS, _save(np.arange(20) % 2 - 1), "has a label that is not one of 2 classes"),
        (LABELS, _save(np.zeros(20, np.int32)), "has other dtype and shape"),
        (IMAGES, _save(np.zeros((20, 6, 5), np.uint8)), "has other dtype and shape"),
        (IMAGES, _save(np.array([{}])), "cannot be understood"),
        (LABELS, lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': '<i8', "), "c"),
        (
            TABLE,
            lambda path: pq.write_table(pa.table({"a": [1.0] * 50, "c": [1.0] * 50}), path),
            "has other rows and columns|cannot be understood",
        ),
    ],
)
def test_unsealed_files_of_another_form_are_damage(
    shelf: Shelf, name: str, write: Callable[[Path], None], fault: str
) -> None:
    upload, spec = put(shelf, name)
    (upload.directory / CHECKSUMS).unlink()
    write(upload.directory / name)
    with pytest.raises(Damaged, match=fault):
        spec.load(shelf.root)
    with pytest.raises(Damaged, match=fault):
        stored.check(upload.schema, upload.directory)
