"""Reading untrusted Parquet and NPZ files."""

import contextlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml.errors import Invalid
from ml.ingest import Schema
from ml.ingest.schema import IMAGES, LABELS, ImageSchema, TableSchema
from tests.ml.ingest.reading import read, stored_rows

ANY_FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def table(schema: Schema) -> TableSchema:
    assert isinstance(schema, TableSchema)
    return schema


def parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def npz(compressed: bool = False, **arrays: Any) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def test_parquet_columns_keep_their_types(tmp_path: Path) -> None:
    content = parquet(
        whole=[1, None, 3],
        real=[0.5, float("nan"), 2.5],
        truth=[True, None, False],
        name=["a", "?", None],
        coded=pa.array(["x", "y", "x"]).dictionary_encode(),
        money=pa.array([1, 2, None], pa.decimal128(10, 2)),
    )
    schema = table(read(tmp_path, content, missing=["?"]))
    kinds = [column.kind for column in schema.columns]
    assert kinds == ["numeric", "numeric", "boolean", "categorical", "categorical", "numeric"]
    assert [column.missing for column in schema.columns] == [1, 1, 1, 2, 0, 1]
    assert stored_rows(tmp_path)[1] == {
        "whole": None,
        "real": None,
        "truth": None,
        "name": None,
        "coded": "y",
        "money": 2.0,
    }


def test_parquet_column_types_can_be_set(tmp_path: Path) -> None:
    content = parquet(zip=[8001, 8002, None], number=["1.5", "2", None], flag=[1, 0, None])
    kinds = {"zip": "categorical", "number": "numeric", "flag": "boolean"}
    schema = table(read(tmp_path, content, types=kinds))
    assert {column.name: column.kind for column in schema.columns} == kinds
    assert stored_rows(tmp_path)[0] == {"zip": "8001", "number": 1.5, "flag": True}


NESTED = pa.array([[1, 2], [3]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (parquet(a=NESTED), r"column 'a' is list<.*; columns may be numbers"),
        (parquet(a=pa.array([{"b": 1}, {"b": 2}])), "column 'a' is struct<"),
        (parquet(a=pa.array([b"x"])), "column 'a' is binary"),
        (parquet(a=pa.array([], pa.int64())), "no rows"),
        (parquet(a=[1.0, float("inf")]), "row 2, column 'a': inf is not a finite number"),
        (b"\x93NUMPY\x01\x00", "is a single array"),
        (parquet(**{f"c{i}": [1] for i in range(5000)}), "has 5,000 columns"),
        (parquet(a=[1, 2])[:-20], "corrupt Parquet file"),
        (b"PAR1", "corrupt Parquet file"),
        (b"PAR1" + bytes(100) + b"PAR1", "corrupt Parquet file"),
    ],
)
def test_invalid_parquet_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        read(tmp_path, content)


def test_arrays_are_columns(tmp_path: Path) -> None:
    content = npz(
        x=np.arange(6, dtype=np.float32).reshape(3, 2),
        y=np.array(["a", "b", "a"]),
        z=np.array([True, False, True]),
        n=np.array([1, 2, 3], np.int8),
    )
    schema = table(read(tmp_path, content))
    assert [(column.name, column.kind) for column in schema.columns] == [
        ("x_0", "numeric"),
        ("x_1", "numeric"),
        ("y", "categorical"),
        ("z", "boolean"),
        ("n", "numeric"),
    ]
    assert stored_rows(tmp_path)[1] == {"x_0": 2.0, "x_1": 3.0, "y": "b", "z": False, "n": 2.0}


@pytest.mark.parametrize("layout", ["grey", "channels first", "channels last", "one channel"])
def test_images_with_labels_become_an_image_data_set(tmp_path: Path, layout: str) -> None:
    random = np.random.default_rng(0)
    shapes = {
        "grey": (4, 5, 6),
        "channels first": (4, 3, 5, 6),
        "channels last": (4, 5, 6, 3),
        "one channel": (4, 5, 6, 1),
    }
    pictures = random.integers(0, 256, shapes[layout], np.uint8)
    schema = read(tmp_path, npz(compressed=True, x=pictures, y=np.array([10, 2, 2, 10])))
    assert isinstance(schema, ImageSchema)
    assert (schema.rows, schema.height, schema.width) == (4, 5, 6)
    assert [(c.name, c.count) for c in schema.classes] == [("2", 2), ("10", 2)]
    stored = np.load(tmp_path / "into" / IMAGES)
    assert np.load(tmp_path / "into" / LABELS).tolist() == [1, 0, 0, 1]
    expected = {"channels last": np.moveaxis(pictures, -1, 1), "one channel": pictures[..., 0]}
    np.testing.assert_array_equal(stored, expected.get(layout, pictures))
    assert schema.channels == (3 if stored.ndim == 4 else 1)


def lying(shape: tuple[int, ...]) -> bytes:
    """An NPZ file whose array declares `shape` but has eight bytes."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"shape": shape, "fortran_order": False, "descr": "<f8"}
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", head.getvalue() + bytes(8))
    return file.getvalue()


def archived(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


PICTURES, TWO = np.zeros((2, 4, 4), np.uint8), np.array([0, 1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npz(x=np.array([{}, []], object)), "'x' holds Python objects"),
        (npz(x=np.array([1 + 2j])), "'x' holds complex128"),
        (npz(x=np.array([1], "timedelta64")), "'x' holds timedelta64"),
        (npz(x=np.zeros(2, [("a", "i4")])), "'x' holds"),
        (npz(x=np.float64(1)), "'x' is a single value"),
        (npz(x=np.zeros(3), y=np.zeros(4)), "'y' has 4 rows, but 'x' has 3"),
        (npz(x=np.zeros((0, 2))), "arrays without rows"),
        (npz(x=np.zeros((2, 5000))), "has 5,000 columns"),
        (npz(x=np.array(["a" * 1001])), "over 1,000 characters"),
        (lying((10**6,)), r"'x' has 8 bytes, but the shape \(1000000,\)"),
        (lying((10**12,)), "'x' has over 100,000,000 values"),
        (lying((-1,)), "'x'"),
        (archived(x=b"not an array"), "'x' is not in numpy's format"),
        (archived(x=b"\x93NUMPY\x01\x00\x08\x00{broken}"), "'x' has a broken header"),
        (npz(x=PICTURES), "one of labels"),
        (npz(x=np.zeros((2, 5, 5, 2), np.uint8), y=TWO), "have the shape"),
        (npz(x=PICTURES, y=np.zeros(2)), "one class"),
        (npz(x=np.zeros(3))[:-30], "truncated or corrupt zip file"),
    ],
)
def test_invalid_npz_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        read(tmp_path, content)


GOOD = {
    "parquet": parquet(a=[1, 2, 3], b=["x", "y", "x"]),
    "npz": npz(compressed=True, x=np.arange(8).reshape(4, 2), y=np.array(["a", "b", "a", "b"])),
    "images": npz(compressed=True, x=PICTURES, y=TWO),
}


@ANY_FILES
@given(
    kind=st.sampled_from(sorted(GOOD)),
    changes=st.lists(st.tuples(st.integers(4, 10_000), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 300) | st.none(),
)
def test_damaged_files_are_read_or_refused(
    tmp_path: Path, kind: str, changes: list[tuple[int, int]], cut: int | None
) -> None:
    content = bytearray(GOOD[kind])
    for place, value in changes:
        content[place % len(content)] = value
    with contextlib.suppress(Invalid):
        read(tmp_path, bytes(content[: -cut if cut else None]))


@pytest.mark.parametrize("kind", [npz, parquet])
def test_missing_values_are_equal_in_all_formats(tmp_path: Path, kind: Any) -> None:
    texts = np.array(["a", " b ", "NA", "", "-", "a"])
    content = kind(text=texts, number=np.array([1.5, np.nan, 2, 0.1, 1.5, 3]))
    schema = table(
        read(tmp_path, content, missing=["-", "NA"], types={"number": "categorical"}),
    )
    text, number = schema.columns
    assert (text.kind, text.missing, number.kind, number.missing) == (
        "categorical",
        3,
        "categorical",
        1,
    )
    assert [row["text"] for row in stored_rows(tmp_path)] == ["a", "b", None, None, None, "a"]
    assert [row["number"] for row in stored_rows(tmp_path)] == ["1.5", None, "2", "0.1", "1.5", "3"]


@pytest.mark.parametrize("kind", [npz, parquet])
def test_large_integers_stay_distinct_as_categories(tmp_path: Path, kind: Any) -> None:
    ids = [9007199254740992, 9007199254740993]
    read(tmp_path, kind(id=np.array(ids)), types={"id": "categorical"})
    assert [row["id"] for row in stored_rows(tmp_path)] == [str(one) for one in ids]


def test_big_endian_arrays_are_read(tmp_path: Path) -> None:
    read(tmp_path, npz(x=np.array([1, 2, 3], ">i4"), y=np.array([0.5, 1, 2], ">f4")))
    assert stored_rows(tmp_path)[2] == {"x": 3.0, "y": 2.0}


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (np.array([b"dog", b"cat"]), ["cat", "dog"]),
        (np.array([1.0, 0.0]), ["0", "1"]),
        (np.array([True, False]), ["false", "true"]),
    ],
)
def test_classes_are_named_after_their_labels(
    tmp_path: Path, labels: Any, named: list[str]
) -> None:
    schema = read(tmp_path, npz(x=np.zeros((2, 4, 4), np.uint8), y=labels))
    assert isinstance(schema, ImageSchema)
    assert [one.name for one in schema.classes] == named


def test_image_without_a_label_is_refused(tmp_path: Path) -> None:
    content = npz(x=np.zeros((3, 4, 4), np.uint8), y=np.array([1, np.nan, 0]))
    with pytest.raises(Invalid, match="row 2, array 'y': the image has no label"):
        read(tmp_path, content)


def test_category_with_too_many_values_is_refused(tmp_path: Path) -> None:
    content = npz(x=np.arange(1500))
    with pytest.raises(Invalid, match="'x' has over 1,000 different values"):
        read(tmp_path, content, types={"x": "categorical"})
