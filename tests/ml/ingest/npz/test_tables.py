"""Tables in NPZ files, with and without splits."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.errors import Invalid
from ml.ingest import typed_table
from ml.ingest.schema import Categorical
from tests.ml.ingest.npz.files import kinds, npz, table_of
from tests.ml.ingest.reading import read, stored_rows
from tests.ml.shelf import Shelf

X = np.arange(8.0).reshape(4, 2)
Y = np.array([0.5, 1.5, 2.5, 3.5])
SPLIT = {"X_train": X, "y_train": Y, "x_val": X[:1] + 10, "Y_val": Y[:1], "Xtest": X[:2] + 20}
SPLIT["ytest"] = Y[:2]


@pytest.mark.parametrize("batch", [65_536, 3])
def test_splits_are_a_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(typed_table, "MAX_BATCH_ROWS", batch)
    schema = table_of(tmp_path, **SPLIT)
    assert schema.split_by == "split"
    assert [column.name for column in schema.columns] == ["X_0", "X_1", "y", "split"]
    assert [list(row.values()) for row in stored_rows(tmp_path)] == [
        [0, 1, 0.5, "train"],
        [2, 3, 1.5, "train"],
        [4, 5, 2.5, "train"],
        [6, 7, 3.5, "train"],
        [10, 11, 0.5, "validation"],
        [20, 21, 0.5, "test"],
        [22, 23, 1.5, "test"],
    ]


def test_splits_have_any_usual_name(tmp_path: Path) -> None:
    arrays = {"X_TRN": X, "y-trn": Y, "xDev": X[:1], "DEV_y": Y[:1], "x.hold-out": X, "yHoldout": Y}
    schema = table_of(tmp_path, **arrays)
    assert [column.name for column in schema.columns] == ["X_0", "X_1", "y", "split"]
    sizes = Counter(row["split"] for row in stored_rows(tmp_path))
    assert sizes == {"train": 4, "validation": 1, "test": 4}


def test_array_with_a_word_in_its_name_is_not_a_split(tmp_path: Path) -> None:
    schema = table_of(tmp_path, x_train=X, y_train=Y, x_test=X, y_test=Y, std_dev=Y[:1])
    assert {row["split"] for row in stored_rows(tmp_path)} == {"train", "test"}
    [left] = [warning for warning in schema.warnings if warning.kind == "left_out"]
    assert left.message == "'std_dev' is an array of no split; it was left out"


def test_jobs_use_the_splits_of_the_file(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    spec = shelf.spec({"id": shelf.put(npz(**SPLIT)), "target": "y"})
    data = shelf.load(spec)
    assert data.validation is not None
    assert data.test is not None
    assert [len(part) for part in (data.train, data.validation, data.test)] == [4, 1, 2]
    assert data.test.inputs.tolist() == [[20, 21], [22, 23]]
    assert spec.dataset.split_by == "split"  # type: ignore[union-attr]
    with pytest.raises(Invalid, match="has its own test split; leave test out"):
        shelf.spec({"id": "ds_0", "target": "y"}, split={"test": 0.5})


@pytest.mark.parametrize(
    ("labels", "values", "kind"),
    [
        (np.eye(3)[[2, 0, 0, 1]], ["2", "0", "0", "1"], "categorical"),
        (np.asfortranarray(np.eye(3)[[2, 0, 0, 1]]), ["2", "0", "0", "1"], "categorical"),
        (np.array([[2], [0], [0], [1]]), [2, 0, 0, 1], "numeric"),
        (np.array(["b", "a", "a", "c"]), ["b", "a", "a", "c"], "categorical"),
    ],
)
def test_labels_are_one_column(tmp_path: Path, labels: Any, values: list[Any], kind: str) -> None:
    schema = table_of(tmp_path, data=X, target=labels)
    assert [column.name for column in schema.columns] == ["data_0", "data_1", "target"]
    assert schema.columns[2].kind == kind
    assert [row["target"] for row in stored_rows(tmp_path)] == values
    is_one_hot = labels.ndim == 2 and labels.shape[1] > 1
    assert kinds(schema) == ([("target", "one_hot")] if is_one_hot else [])


def test_targets_that_are_not_one_hot_are_columns(tmp_path: Path) -> None:
    schema = table_of(tmp_path, x=X, y=np.array([[1, 0], [1, 1], [0, 1], [0, 1]]))
    assert [column.name for column in schema.columns] == ["x_0", "x_1", "y_0", "y_1"]


def test_columns_and_arrays_can_be_ignored(tmp_path: Path) -> None:
    schema = table_of(
        tmp_path, {"ignore": ["x_1", "note"]}, x=X, y=Y, note=np.array([{}] * 4, object)
    )
    assert [column.name for column in schema.columns] == ["x_0", "y"]
    for ignore, message in [
        (["z"], "there is no column 'z' to ignore; choose from x_0, x_1, y"),
        (["x", "y"], "no arrays but those to ignore"),
        (["x_0", "x_1", "y"], "no columns but those to ignore"),
    ]:
        with pytest.raises(Invalid, match=message):
            table_of(tmp_path, {"ignore": ignore}, x=X, y=Y)
    with pytest.raises(Invalid, match="'y' is to be numeric and to be ignored"):
        table_of(tmp_path, {"ignore": ["y"], "types": {"y": "numeric"}}, x=X, y=Y)


@pytest.mark.parametrize("mark", ["-999", "-999.0", " -9.99e2"])
def test_a_number_that_means_missing(tmp_path: Path, mark: str) -> None:
    schema = table_of(
        tmp_path,
        {"missing": [mark]},
        whole=np.array([-999, 1, 2]),
        real=np.array([0.5, -999, 2], np.float32),
        half=np.array([0.5, -999, 2], np.float16),
        small=np.array([1, 2, 3], np.uint8),
        flag=np.array([True, False, True]),
    )
    assert [column.missing for column in schema.columns] == [1, 1, 1, 0, 0]


def test_large_integers_are_categories_if_they_are_few(tmp_path: Path) -> None:
    ids = 2**53 + np.arange(1500, dtype=np.uint64)
    schema = table_of(tmp_path, few=ids // 1000 * 1000, many=ids, safe=ids - 2**53)
    assert [(column.name, column.kind) for column in schema.columns] == [
        ("few", "categorical"),
        ("safe", "numeric"),
    ]
    few = schema.columns[0]
    assert isinstance(few, Categorical)
    assert [one.value for one in few.categories] == [
        "9007199254740000",
        "9007199254741000",
        "9007199254742000",
    ]
    assert kinds(schema) == [("few", "large_integers"), ("many", "left_out")]
    schema = table_of(tmp_path, {"types": {"many": "numeric"}}, many=ids)
    assert (schema.columns[0].kind, schema.left_out) == ("numeric", {})


def test_times_are_dates_and_spans_are_seconds(tmp_path: Path) -> None:
    days = np.array(["2024-12-31", "2024-02-29", "NaT"], "datetime64[D]")
    schema = table_of(
        tmp_path,
        day=days,
        month=days.astype("datetime64[M]"),
        at=days.astype(">M8[ms]") + np.timedelta64(1500, "ms"),
        wait=np.array([2, -1, 0], "timedelta64[m]"),
    )
    assert [column.kind for column in schema.columns] == ["date", "date", "date", "numeric"]
    assert kinds(schema) == [("wait", "unit")]
    found = stored_rows(tmp_path)
    assert found[0]["day"] == datetime(2024, 12, 31, tzinfo=UTC)
    assert found[1]["month"] == datetime(2024, 2, 1, tzinfo=UTC)
    assert found[1]["at"] == datetime(2024, 2, 29, 0, 0, 1, 500_000, tzinfo=UTC)
    assert [row["wait"] for row in found] == [120, -60, 0]
    assert (found[2]["day"], found[2]["month"], found[2]["at"]) == (None, None, None)
    far = np.array([2**62, 0], "datetime64[Y]")
    with pytest.raises(Invalid, match="beyond the years"):
        table_of(tmp_path, far=far)
    with pytest.raises(Invalid, match=r"holds timedelta64\[M\]"):
        table_of(tmp_path, far=far.astype("timedelta64[M]"))


def test_a_column_that_cannot_be_used_is_left_out(tmp_path: Path) -> None:
    schema = table_of(tmp_path, a=np.array([1, np.inf]), b=np.array(["1", "2.5"]))
    assert kinds(schema) == [("a", "left_out")]
    assert "row 2, column 'a': inf is not a finite number" in schema.warnings[0].message
    assert stored_rows(tmp_path) == [{"b": 1.0}, {"b": 2.5}]
    with pytest.raises(Invalid, match="row 2, column 'a': inf"):
        table_of(tmp_path, {"types": {"a": "numeric"}}, a=np.array([1, np.inf]))
    schema = table_of(tmp_path, {"missing": ["inf"]}, a=np.array([1, np.inf]))
    assert (schema.columns[0].missing, schema.left_out) == (1, {})


def test_tables_of_names_with_a_word_for_a_split_stay_tables(tmp_path: Path) -> None:
    schema = table_of(tmp_path, math_test=Y, reading_test=Y, grade=Y)
    assert [column.name for column in schema.columns] == ["math_test", "reading_test", "grade"]
    assert schema.split_by is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "x_0": Y}, "both named 'x_0'"),
        (SPLIT | {"split_train": Y, "split_val": Y[:1], "split_test": Y[:2]}, "both named 'split'"),
        ({"x": X, "y": Y[:2]}, "'y' has 2 rows, but 'x' has 4; arrays of splits are named"),
        ({"a": np.array([np.inf, 1])}, "no column that can be used: row 1, column 'a': inf"),
        ({"r": np.zeros(2, [("a", "i4")])}, "'r' holds records.*ignore"),
    ],
)
def test_tables_that_are_not_plain_are_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        read(tmp_path, npz(**arrays))
