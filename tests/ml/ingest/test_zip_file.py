"""Zip files of one table, as portals and pandas pack them."""

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ml.errors import Invalid
from ml.ingest import zip_file
from tests.ml.ingest.archives import zipped
from tests.ml.ingest.reading import read, read_table, stored_rows
from tests.ml.ingest.test_image_zip import LINK, png

CSV = b"a,b\n1,x\n2,y\n"
ROWS = [{"a": 1.0, "b": "x"}, {"a": 2.0, "b": "y"}]
LINES = b'{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n'


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), file)
    return file.getvalue()


def workbook() -> bytes:
    return zipped({"[Content_Types].xml": b"", "xl/workbook.xml": b""})


def array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(3))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", CSV),
        ("data/2024/TRAIN.CSV", CSV),
        ("data\\train.csv", CSV),
        ("train.tsv", b"a\tb\n1\tx\n2\ty\n"),
        ("train.json", b'[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]'),
        ("train.jsonl", LINES),
        ("train.ndjson", LINES),
        ("train.parquet", parquet()),
        ("metadata.json", LINES),
        ("iris.data", CSV),
        ("table.txt", CSV),
        ("table", CSV),
        ("misnamed.csv", parquet()),
        ("donn\u00e9es.csv", CSV),
    ],
)
def test_table_alone_is_read_as_itself(tmp_path: Path, name: str, content: bytes) -> None:
    schema = read_table(tmp_path, zipped({"data/": b"", name: content}))
    assert stored_rows(tmp_path) == ROWS
    assert schema.warnings == read_table(tmp_path, content).warnings
    assert read_table(tmp_path, gzip.compress(zipped({name: content}))) == schema


STRAYS = {
    "README": b"About the data",
    "README.md": b"# a, b",
    "LICENSE.txt": b"CC0",
    "docs/report.pdf": b"%PDF",
    "dataset-metadata.json": b'{"title": "t"}',
    "names.txt": b"a,b\n",
    "model.pkl": b"\x80\x04N.",
    "__MACOSX/._train.csv": b"junk",
    "._train.csv": b"junk",
    ".DS_Store": b"junk",
    "Thumbs.db": b"junk",
}


def test_files_beside_the_table_are_skipped_with_a_warning(tmp_path: Path) -> None:
    schema = read_table(tmp_path, zipped(STRAYS | {"train.csv": CSV}))
    assert stored_rows(tmp_path) == ROWS
    assert [(one.kind, one.message) for one in schema.warnings] == [
        (
            "skipped_files",
            "7 files of other types ('README', 'README.md', 'LICENSE.txt', ...) and 4 hidden files "
            "('__MACOSX/._train.csv', '._train.csv', '.DS_Store', ...) were skipped",
        )
    ]


def test_options_are_those_of_the_table(tmp_path: Path) -> None:
    content = zipped({"donn\u00e9es.csv": "a;b\n1,5;\u732b\n2,5;y\n".encode("utf-16")})
    schema = read_table(
        tmp_path, content, encoding="utf-16", types={"a": "categorical"}, ignore=["b"]
    )
    assert [(column.name, column.kind) for column in schema.columns] == [("a", "categorical")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            zipped({"train.csv": CSV, "x/test set.csv": CSV, "README": b""}),
            "has 2 tables: 'train.csv', 'x/test set.csv'; send one of them, such as the output of: "
            "unzip -p FILE.zip train.csv$",
        ),
        (
            zipped({f"part {i:02}.parquet": parquet() for i in range(12)}),
            "has 12 tables: 'part 00.parquet', .*'part 09.parquet' and 2 more; .*'part 00.parquet'",
        ),
        (zipped({"a.csv": CSV, "a.json": LINES}), "has 2 tables: 'a.csv', 'a.json'"),
        (zipped({"README.md": b"# Data"}), "has no images and no table"),
        (zipped({"pos/1.txt": b"good", "neg/1.txt": b"bad"}), "has no images and no table"),
        (zipped({"train.csv": b""}), "'train.csv': is empty"),
        (zipped({"train.csv": b"a,b\n"}), "'train.csv': has no rows below its header"),
        (zipped({"train.csv": b"a,b\n1,2\n3\n"}), "'train.csv': row 3 has 1 fields"),
        (zipped({"train.csv": b"<!doctype html><html>"}), "'train.csv': is an HTML page"),
        (zipped({"sheet.xlsx": workbook()}), "'sheet.xlsx': is an Excel workbook"),
        (zipped({"train.csv": zipped({"a": b""})}), "'train.csv': is a zip file within a zip"),
        (zipped({"README": b"", "x.npy": array()}), "'x.npy': is a single array"),
        (zipped({"model.pkl": b"\x80\x04N."}), "'model.pkl': is a pickle"),
        (zipped({"train.csv.gz": gzip.compress(CSV)}), "an archive within it, 'train.csv.gz'"),
        (zipped({"train.csv": b"/etc/passwd"}, **{"train.csv": LINK["b/1.png"]}), "has a link"),
        (zipped({"../train.csv": CSV}), "a path outside the archive"),
        (zipped({"train.csv": CSV, "/etc/x": b""}), "a path outside the archive"),
        (zipped({"train.csv": b"a,b\n" + b"1,2\n" * 5_000_000}), "over 100 times as many"),
        (zipped({"train.parquet": parquet()[:-9]}), "'train.parquet': is a corrupt Parquet file"),
        (zipped({"train.csv": CSV})[:-30], "truncated or corrupt zip"),
    ],
)
def test_zips_without_one_good_table_are_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        read(tmp_path, content)


def test_size_is_checked_before_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_file, "MAX_BYTES", len(CSV))
    assert read_table(tmp_path, zipped({"train.csv": CSV})).rows == 2
    monkeypatch.setattr(zip_file, "MAX_BYTES", len(CSV) - 1)
    with pytest.raises(Invalid, match=r"a table of 12 bytes, 'train.csv'; at most 11 are read"):
        read(tmp_path, zipped({"train.csv": CSV}))


def test_member_larger_than_it_says_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped({"train.csv": CSV}))
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(mark) + offset
        content[place : place + 4] = (5).to_bytes(4, "little")
    with pytest.raises(Invalid, match="corrupt zip file"):
        read(tmp_path, bytes(content))


def test_images_come_before_tables(tmp_path: Path) -> None:
    jpeg = io.BytesIO()
    Image.new("L", (6, 5)).save(jpeg, "JPEG")
    members: dict[str, Any] = {"labels.csv": CSV, "cats/1.png": png(), "dogs/1": jpeg.getvalue()}
    assert read(tmp_path, zipped(members)).kind == "images"
