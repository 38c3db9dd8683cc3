"""Names, schemas and pixels of uploads stay within bounds."""

import io
import itertools
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ml.errors import Invalid
from ml.ingest.names import MAX_NAME
from ml.ingest.schema import MAX_CATEGORIES, MAX_COLUMNS, MAX_SCHEMA_BYTES, TableSchema
from tests.ml.ingest.reading import read


def csv(*names: str) -> bytes:
    header = ",".join('"{}"'.format(name.replace('"', '""')) for name in names)
    return f"{header}\n{','.join('1' for _ in names)}\n".encode()


def npz(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            array = io.BytesIO()
            np.save(array, np.arange(3))
            archive.writestr(f"{name}.npy", array.getvalue())
    return file.getvalue()


def parquet(*names: str) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table([[1, 2]] * len(names), names=list(names)), file)
    return file.getvalue()


def folders(*names: str) -> bytes:
    image, file = io.BytesIO(), io.BytesIO()
    Image.new("L", (3, 3)).save(image, "PNG")
    with zipfile.ZipFile(file, "w") as archive:
        for name in (*names, "other"):
            archive.writestr(f"{name}/1.png", image.getvalue())
    return file.getvalue()


@pytest.mark.parametrize("form", [csv, npz, parquet, folders])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a\x01b", r"'a\\x01b', contains the invisible character U\+0001 \(a control character\)"),
        ("a\x1b[31m", r"U\+001B"),
        ("a\x7f", r"U\+007F"),
        ("a\x85b", r"U\+0085"),
        ("line\nbreak", r"U\+000A"),
        ("\u202etxt", r"U\+202E \(right-to-left override\)"),
        ("zero\u200bwidth", r"U\+200B"),
        ("a\u2028b", r"U\+2028"),
        ("a\U000e0001", r"U\+E0001"),
        ("x" * (MAX_NAME + 1), "has 201 characters; at most 200"),
    ],
)
def test_names_that_cannot_be_shown_are_refused(
    tmp_path: Path, form: Any, name: str, message: str
) -> None:
    if form is csv and name.split() != [name]:
        assert read(tmp_path, form("a", name)).columns[1].name == " ".join(name.split())
        return
    with pytest.raises(Invalid, match=rf"the name of (column 2|a class).*{message}"):
        read(tmp_path, form("a", name))


@pytest.mark.parametrize("form", [csv, npz, parquet])
@pytest.mark.parametrize("name", ["", " ", "\u3000"])
def test_empty_names_are_refused(tmp_path: Path, form: Any, name: str) -> None:
    if form is csv:
        assert read(tmp_path, form("a", name)).columns[1].name == "c2"
        return
    with pytest.raises(Invalid, match="column 2 has no name"):
        read(tmp_path, form("a", name))


@pytest.mark.parametrize("form", [csv, npz, parquet, folders])
def test_names_of_any_language_are_kept(tmp_path: Path, form: Any) -> None:
    names = [
        "größe",
        "面积",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "👩\u200d🔬",
        "a b",
    ]
    schema = read(tmp_path, form(*names))
    if isinstance(schema, TableSchema):
        assert [column.name for column in schema.columns] == names
    else:
        assert {c.name for c in schema.classes} == {*names, "other"}


@pytest.mark.parametrize("form", [csv, npz, parquet])
def test_huge_names_and_numbers_of_columns_are_refused_soon(tmp_path: Path, form: Any) -> None:
    start = time.process_time()
    if form is not npz:  # names in zip files have at most 64 KiB
        with pytest.raises(Invalid, match="has 1,000,000 characters; at most 200 are allowed"):
            read(tmp_path / "a", form("x" * 1_000_000))
    count = 100_000 if form is csv else MAX_COLUMNS + 1
    with pytest.raises(Invalid, match=r"columns; at most 4,096|over 4,096 arrays"):
        read(tmp_path / "b", form(*(f"c{i}" for i in range(count))))
    assert time.process_time() - start < 20


@pytest.fixture(autouse=True)
def _directories(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()


def categories(columns: int, characters: int) -> bytes:
    """A table whose columns have as many categories as they may."""
    values = pa.array([f"{i:0{characters}}" for i in range(MAX_CATEGORIES)])
    file = io.BytesIO()
    table = pa.table({f"c{i}": values for i in range(columns)})
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def test_schemas_have_a_maximum_size(tmp_path: Path) -> None:
    content = categories(columns=90, characters=1000)
    assert len(content) < MAX_SCHEMA_BYTES, "a small file"
    message = (
        r"categories of over 16,777,216 characters|bytes in all; at most 1,048,576 are allowed"
    )
    with pytest.raises(Invalid, match=message):
        read(tmp_path, content)


def test_a_schema_that_is_too_large_names_the_columns_to_blame(tmp_path: Path) -> None:
    content = categories(columns=3, characters=400)
    with pytest.raises(Invalid, match="make the columns with most categories text: c0, c1, c2"):
        read(tmp_path / "a", content)
    schema = read(tmp_path / "b", content, types={"c0": "text", "c1": "text"})
    assert len(schema.model_dump_json()) < MAX_SCHEMA_BYTES


def blank(side: int, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG", **options)
    return file.getvalue()


def zip_of(image: bytes, count: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i, folder in zip(range(count), itertools.cycle("ab")):
            archive.writestr(f"{folder}/{i}.png", image)
    return file.getvalue()


def test_a_zip_of_empty_large_images_is_refused_by_its_headers(tmp_path: Path) -> None:
    content = zip_of(blank(7000, compress_level=9), 60)
    assert len(content) < 1_000_000
    start = time.process_time()
    with pytest.raises(Invalid, match=r"has images of over 2,0\d\d,\d\d\d,\d\d\d pixels in all"):
        read(tmp_path, content, image_size=[32, 32])
    assert time.process_time() - start < 2, "decoding takes 10 s"


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    good = blank(20)
    file = io.BytesIO(zip_of(good, 3))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("b/damaged.png", good[:40])
    with pytest.raises(Invalid, match=r"'b/damaged.png': the image is truncated or corrupt"):
        read(tmp_path, file.getvalue())
