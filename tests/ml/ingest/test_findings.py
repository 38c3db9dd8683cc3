"""Warnings found while a table is read, alike from each kind of file."""

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.ingest.clues import DistinctSample
from ml.ingest.findings import column_warnings
from ml.ingest.schema import MAX_COLUMNS, MAX_SCHEMA_BYTES, Numeric, TableSchema
from ml.ingest.warning import MAX_ALIKE, folded
from tests.ml.ingest.reading import read_table

ROWS = 100
SHUFFLED = random.Random(0).sample(range(1001, 1001 + ROWS), ROWS)


def table(columns: dict[str, list[Any]]) -> str:
    """Return a CSV file, delimited by tabs."""
    rows = zip(*columns.values(), strict=True)
    return "\n".join("\t".join(map(str, row)) for row in [tuple(columns), *rows])


def kinds(schema: TableSchema) -> dict[str | None, str]:
    return {warning.column: warning.kind for warning in schema.warnings}


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (range(ROWS), "index", "'a' numbers the rows, from 0 to 99; unless"),
        (range(1, ROWS + 1), "index", "'a' numbers the rows, from 1 to 100; unless"),
        (SHUFFLED, "identifier", "'a' has a different whole number in each of 100 rows, as an id"),
        (range(500, 500 + ROWS), "identifier", "'a' has a different whole number in each of 100"),
        (
            [f"u{i:03d}" for i in range(ROWS)],
            "identifier",
            "'a' has 100 different values in 100 rows, as an id has; unless it",
        ),
        (
            [f"name {min(i, 97)}" for i in range(ROWS)],
            "identifier",
            "'a' has 98 different values in 100 rows",
        ),
        ([2024] * ROWS, "constant", "'a' is 2024 in every row; nothing can be learned from it"),
        (["red"] * ROWS, "constant", "'a' is 'red' in every row; nothing"),
        (["true"] * ROWS, "constant", "'a' is true in every row; nothing"),
        (["x", ""] * 50, "constant", "'a' is 'x' or missing in every row; other values have no"),
        ([""] * ROWS, "empty", "'a' has no value in any row; nothing can be learned from it"),
        (
            [2**53 + 2 * (i % 7) + 1 for i in range(ROWS)],
            "large_integers",
            "'a' has whole numbers that are too large to be exact, such as 9007199254740993",
        ),
        (
            [f"0{i % 7}" for i in range(ROWS)],
            "leading_zeros",
            "'a' has leading zeros, as in '00': it is read as categories",
        ),
        (
            [f"{i} box" for i in range(8)],
            "numbers_as_text",
            "'a' is read as categories; to read '0 box' as a number, list it in numeric",
        ),
        (
            [f"1,{i}%" for i in range(9)],
            "number_spelling",
            "'a' is read as numbers: '1,0%' is 1;",
        ),
        (
            ["1", "2", "3", "4", "5", "6", "7", "8", "9", "n/d"],
            "numbers_as_text",
            "'a' is read as categories, but 9 of 10 values are numbers; to read them as numbers, "
            "correct the others or add them to missing: 'n/d'",
        ),
        (
            [f"some text {i}" for i in range(1001)],
            "left_out",
            "'a' is text, since it has over 1,000 different values",
        ),
        (["x" * 1001, "y"] * 5, "left_out", "one of over 1,000 characters; no model learns"),
    ],
)
def test_what_is_found_is_said(tmp_path: Path, values: Any, kind: str, message: str) -> None:
    rows = [f"{value}\t{i % 3}" for i, value in enumerate(values)]
    [warning] = read_table(tmp_path, "\n".join(["a\tb", *rows])).warnings
    assert (warning.column, warning.kind) == ("a", kind)
    assert message in warning.message


@pytest.mark.parametrize(
    "values",
    [
        [f"{i / 7:.3f}" for i in range(ROWS)],
        [i * 0.5 for i in range(ROWS)],
        random.Random(1).choices(range(10), k=ROWS),
        # Salaries are all different by chance.
        random.Random(1).sample(range(20_000, 900_000), ROWS),
        [2, 1, *range(3, 8), 3],
        [10, 20, 30, 40, 50, 60],
        ["red", "green", "blue"],
        ["a", "b", "c", "d"] * 25,
        ["true", "false"] * 5,
        [6.02e23, 1e20, 3e19],
        [2**53, 1, 1],
        [1, 2, "", 4, 5, 5],
    ],
)
def test_ordinary_columns_are_not_warned_of(tmp_path: Path, values: list[Any]) -> None:
    rows = [f"{value},{i % 3}" for i, value in enumerate(values)]
    assert read_table(tmp_path, "\n".join(["a,b", *rows])).warnings == []


def test_declared_columns_are_as_the_user_wants_them(tmp_path: Path) -> None:
    content = table(
        {
            "zip": [f"0{i % 9}" for i in range(ROWS)],
            "rate": [f"{i % 9}%" for i in range(ROWS)],
            "note": [f"some text {i}" for i in range(ROWS)],
        }
    )
    types = {"zip": "categorical", "rate": "categorical", "note": "text"}
    assert read_table(tmp_path, content, types=types).warnings == []


def test_ids_in_any_order_are_found_in_long_columns(tmp_path: Path) -> None:
    order = np.random.default_rng(0)
    shuffled = order.permutation(40_000) + 7
    repeated = shuffled.copy()
    repeated[:4000] = repeated[4000:8000]
    file = io.BytesIO()
    few = order.integers(0, 5000, 40_000)
    np.savez(file, shuffled=shuffled, repeated=repeated, few=few, real=shuffled / 3)
    assert kinds(read_table(tmp_path, file.getvalue())) == {"shuffled": "identifier"}


def test_repeated_numbers_are_noticed_whatever_their_frequency() -> None:
    order = np.random.default_rng(0)
    for different in (2, 50, 2000, 40_000):
        sample = DistinctSample()
        for _ in range(8):
            sample.add(order.integers(0, different, 25_000).astype(np.float64))
        assert not sample.are_different()


def test_every_kind_of_file_is_looked_at(tmp_path: Path) -> None:
    columns = {
        "row": np.arange(ROWS),
        "id": np.array(SHUFFLED),
        "same": np.full(ROWS, 7.0),
        "large": np.arange(ROWS) % 7 + 2**60,
        "share": np.array([f"{i % 9}%" for i in range(ROWS)]),
        "on": np.full(ROWS, True),
        "x": np.linspace(0, 1, ROWS),
    }
    expected = {
        "row": "index",
        "id": "identifier",
        "same": "constant",
        "on": "constant",
    }
    npz, parquet = io.BytesIO(), io.BytesIO()
    np.savez(npz, **columns)
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), parquet)
    files = npz.getvalue(), parquet.getvalue(), table({n: [*v] for n, v in columns.items()})
    for content in files:
        found = kinds(read_table(tmp_path, content))
        assert expected.items() <= found.items()
        assert "x" not in found


def test_warnings_of_wide_tables_are_few(tmp_path: Path) -> None:
    found = read_table(tmp_path, table({f"c{i}": [1, 1] for i in range(100)})).warnings
    assert [warning.column for warning in found] == ["c0", "c1", "c2", "c3", "c4", None]
    assert found[-1].message == "the same holds for 95 more columns: 'c5', 'c6', 'c7' and 92 more"
    widest = [
        Numeric(name=f"c{i}", missing=0, distinct=1, whole=True, min=1, max=1, mean=1, std=0)
        for i in range(MAX_COLUMNS)
    ]
    found = folded(column_warnings(widest, {}, 2, {}))
    assert len(found) == MAX_ALIKE + 1
    assert found[-1].message.startswith("the same holds for 4,091 more columns: 'c5', ")


def test_warnings_do_not_count_towards_the_size_of_a_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = table({f"c{i}": [1, 1] for i in range(20)})
    size = len(read_table(tmp_path, content).model_dump_json(exclude={"warnings"}))
    monkeypatch.setattr("ml.ingest.MAX_SCHEMA_BYTES", size)
    assert len(read_table(tmp_path, content).warnings) == MAX_ALIKE + 1
    assert size < MAX_SCHEMA_BYTES
