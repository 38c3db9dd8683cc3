"""Parquet files as pandas, polars and others write them."""

import io
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.errors import Invalid
from ml.ingest.schema import TABLE, TableSchema
from tests.ml.ingest.reading import read_table
from tests.ml.shelf import Shelf

USABLE = pa.array([1, 2])
UNUSABLE = {
    "tags": pa.array([["a"], ["b", "c"]]),
    "address": pa.array([{"city": "x"}, {"city": "y"}]),
    "map": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
    "blob": pa.array([b"x", b"y"]),
    "uuid": pa.array([b"x" * 16, b"y" * 16], pa.binary(16)),
    "nothing": pa.array([None, None]),
    "lists": pa.array([[1.0], None]),
    "huge": pa.array([Decimal("1e50"), Decimal(1)], pa.decimal256(60, 2)),
    "inf": pa.array([1.0, float("-inf")]),
}


def parquet(table: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), file)
    return file.getvalue()


def read(tmp_path: Path, table: Any, **options: Any) -> TableSchema:
    return read_table(tmp_path, parquet(table), **options)


def columns(tmp_path: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = pq.read_table(tmp_path / "into" / TABLE).to_pydict()
    return found


def kinds(schema: TableSchema) -> dict[str, str]:
    return {column.name: column.kind for column in schema.columns}


def warned(schema: TableSchema) -> list[tuple[str | None, str]]:
    """The warnings about types; others are about values."""
    found = [(warning.column, warning.kind) for warning in schema.warnings]
    return [one for one in found if one[1] in ("large_integers", "left_out", "unit")]


def test_columns_that_cannot_be_used_are_left_out(tmp_path: Path) -> None:
    schema = read(tmp_path, {"a": USABLE} | UNUSABLE | {"b": ["x", "y"]})
    assert kinds(schema) == {"a": "numeric", "b": "categorical"}
    assert list(schema.left_out) == list(UNUSABLE)
    assert {kind for _, kind in warned(schema)} == {"left_out"}
    assert "'tags' is list<" in schema.warnings[0].message
    assert columns(tmp_path) == {"a": [1, 2], "b": ["x", "y"]}


@pytest.mark.parametrize("name", UNUSABLE)
def test_columns_that_cannot_be_used_are_refused_by_name(tmp_path: Path, name: str) -> None:
    table = {"a": USABLE, name: UNUSABLE[name]}
    with pytest.raises(Invalid, match=f"column '{name}'"):
        read(tmp_path, table, types={name: "numeric"})
    shelf = Shelf(tmp_path)
    dataset_id = shelf.put(parquet(table | {"y": [1, 2]}))
    for dataset in ({"target": name}, {"target": "y", "features": {name: None}}):
        with pytest.raises(Invalid, match=f"column '{name}'.*left out"):
            shelf.spec({"id": dataset_id} | dataset)
    assert read(tmp_path, table, ignore=[name]).left_out == {}


def test_every_type_becomes_its_kind(tmp_path: Path) -> None:
    numbers: list[Any] = [pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32()]
    numbers += [pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()]
    table = {str(kind): pa.array([1, None, 3]).cast(kind) for kind in numbers}
    for kind in (pa.decimal128(5, 2), pa.decimal256(40, 2)):
        table[str(kind)] = pa.array([Decimal(1), None, Decimal(3)], kind)
        numbers.append(kind)
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        table[str(kind)] = pa.array([" a", None, "b"], kind)
    table["coded"] = table["large_string"].dictionary_encode()
    table["day"] = pa.array([date(2024, 12, 31), None, date(2025, 1, 1)])
    table["zoned"] = pa.array([0, None, 1], pa.timestamp("ns", "Europe/Berlin"))
    table["flag"] = pa.array([True, None, False])
    table["wait"] = pa.array([timedelta(minutes=1), None, timedelta(milliseconds=-500)])
    table["at"] = pa.array([time(0, 1), None, time(12)], pa.time32("ms"))
    schema = read(tmp_path, table)
    texts = ["string", "large_string", "string_view", "coded"]
    assert kinds(schema) == (
        dict.fromkeys(map(str, numbers), "numeric")
        | dict.fromkeys(texts, "categorical")
        | {"day": "date", "zoned": "date", "flag": "boolean", "wait": "numeric", "at": "numeric"}
    )
    assert {column.missing for column in schema.columns} == {1}
    assert warned(schema) == [("wait", "unit"), ("at", "unit")]
    found = columns(tmp_path)
    assert [found[str(kind)] for kind in numbers] == [[1.0, None, 3.0]] * len(numbers)
    assert [found[name] for name in texts] == [["a", None, "b"]] * 4
    assert found["day"][0] == datetime(2024, 12, 31, tzinfo=UTC)
    assert found["zoned"][0] == datetime(1970, 1, 1, tzinfo=UTC)
    assert found["wait"] == [60.0, None, -0.5]
    assert found["at"] == [60.0, None, 43_200.0]


def with_pandas(table: Any, metadata: bytes) -> Any:
    return table.replace_schema_metadata({b"pandas": metadata})


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("__index_level_0__", b'{"index_columns": ["__index_level_0__"]}'),
        ("__index_level_0__", b'{"index_columns": [{"kind": "range"}]}'),
        ("__index_level_0__", b"[" * 100_000),
        ("__index_level_12__", b""),
        ("country", b'{"index_columns": ["country", {"kind": "range", "name": null}]}'),
    ],
    ids=["listed", "unnamed", "damaged", "bare", "named"],
)
def test_the_index_of_pandas_is_left_out(tmp_path: Path, name: str, metadata: bytes) -> None:
    table = with_pandas(pa.table({"a": USABLE, name: [0, 1]}), metadata)
    schema = read(tmp_path, table)
    assert kinds(schema) == {"a": "numeric"}
    assert warned(schema) == [(name, "left_out")]
    assert "reset_index()" in schema.warnings[0].message
    with pytest.raises(Invalid, match=r"index of a pandas DataFrame.*cannot be categorical"):
        read(tmp_path, table, types={name: "categorical"})


def test_categories_of_pandas_are_categories(tmp_path: Path) -> None:
    metadata = b'{"columns": [{"field_name": "size", "pandas_type": "categorical"}, 7]}'
    table = with_pandas(pa.table({"size": [3, 3, 10], "y": [1, 2, 4]}), metadata)
    assert kinds(read(tmp_path, table)) == {"size": "categorical", "y": "numeric"}
    assert columns(tmp_path)["size"] == ["3", "3", "10"]
    shelf = Shelf(tmp_path)
    spec = shelf.spec({"id": shelf.put(parquet(table)), "target": "size"})
    assert spec.dataset.signature().output.kind == "classes", "no guess, so no task is needed"


def test_texts_that_are_numbers_are_numbers(tmp_path: Path) -> None:
    numbers = ["1", "-2.5", None, "NA", "+3e2"]
    table = {
        "number": numbers,
        "truth": ["true", "False", None, "TRUE", "false"],
        "some": ["1", "2", "a", None, None],
        "coded": pa.array(numbers).dictionary_encode(),
        "mixed": ["x"] + ["1"] * 4,
    }
    schema = read(tmp_path, table, missing=["a", "NA"])
    assert kinds(schema) == {
        "number": "numeric",
        "truth": "boolean",
        "some": "numeric",
        "coded": "categorical",
        "mixed": "categorical",
    }
    found = columns(tmp_path)
    assert found["number"] == [1, -2.5, None, None, 300]
    assert found["truth"] == [True, False, None, True, False]


def test_texts_of_which_most_are_numbers_are_left_out(tmp_path: Path) -> None:
    table = {"a": ["1"] * 30 + ["one"], "b": list(range(31))}
    schema = read(tmp_path, table)
    assert warned(schema) == [("a", "left_out")]
    assert "row 31, column 'a': 'one' is not a number, but 30 of 31" in schema.left_out["a"]
    assert kinds(read(tmp_path, table, missing=["one"]))["a"] == "numeric"
    assert kinds(read(tmp_path, table, types={"a": "categorical"}))["a"] == "categorical"


LARGE = [2**53 + 1, 2**53 + 2, 2**53 + 1]


@pytest.mark.parametrize(
    "values",
    [
        pa.array(LARGE),
        pa.array(LARGE, pa.uint64()),
        pa.array([-value for value in LARGE]),
        pa.array([Decimal(value) for value in LARGE], pa.decimal128(20, 0)),
        pa.array([str(value) for value in LARGE]),
    ],
    ids=lambda values: str(values.type),
)
def test_whole_numbers_beyond_float64_keep_their_identity(tmp_path: Path, values: Any) -> None:
    schema = read(tmp_path, {"id": values})
    assert (kinds(schema), warned(schema)) == ({"id": "categorical"}, [("id", "large_integers")])
    assert columns(tmp_path)["id"] == [str(value) for value in values.to_pylist()]


@pytest.mark.parametrize("mark", ["-999", "-999.0"])
def test_a_number_that_means_missing(tmp_path: Path, mark: str) -> None:
    table = {
        "whole": [-999, 1],
        "real": [-999.0, 1.5],
        "money": pa.array([-999, 1], pa.decimal128(9, 2)),
        "byte": pa.array([7, 1], pa.uint8()),
        "text": ["-999", "1"],
    }
    schema = read(tmp_path, table, missing=[mark, "1e999999999", "x"])
    assert [column.missing for column in schema.columns[:4]] == [1, 1, 1, 0]


def test_columns_can_be_ignored(tmp_path: Path) -> None:
    table = {"a": [1, 2], "a.b": [3, 4], "c": ["x", "y"]}
    assert kinds(read(tmp_path, table, ignore=["a.b"])) == {"a": "numeric", "c": "categorical"}
    assert columns(tmp_path)["a"] == [1, 2]
    with pytest.raises(Invalid, match="no column 'z' to ignore; choose from a, a"):
        read(tmp_path, table, ignore=["z"])
    with pytest.raises(Invalid, match="no columns but those to ignore"):
        read(tmp_path, table, ignore=["a", "a.b", "c"])
