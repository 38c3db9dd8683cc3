"""Warnings about a job before its data is loaded, and targets that are refused."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.datasets.column_types import check_spelling
from ml.datasets.job_warnings import job_warnings
from ml.errors import Invalid
from ml.ingest.schema import Categorical, Category
from ml.specs import TrainingRequest, resolve
from tests.ml.shelf import Shelf

ALL_TRAIN = {"test": 0.0}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def found(shelf: Shelf, dataset: dict[str, Any], **split: Any) -> dict[str, str]:
    """Return the messages of a job's warnings by column and kind."""
    document = {"dataset": {"kind": "upload"} | dataset, "split": split}
    request = TrainingRequest.model_validate(document)
    spec = resolve(request, shelf)
    warnings = job_warnings(request.dataset, spec.dataset, spec.split, shelf)
    return {f"{w.column or ''}:{w.kind}": w.message for w in warnings}


def put(shelf: Shelf, head: str, rows: list[str], **options: Any) -> str:
    return shelf.put("\n".join([head, *rows]), **options)


def test_rows_held_out_by_default_are_counted(shelf: Shelf) -> None:
    dataset = {"id": put(shelf, "x,y", [f"{i / 7},{i / 3}" for i in range(100)]), "target": "y"}
    by_default = {
        ":held_out": "80 of 100 rows train; by default, 0.2 of the rows are held out for the test; "
        "set split.test to choose another share"
    }
    assert found(shelf, dataset) == by_default
    validated = found(shelf, dataset, validation=0.1)[":held_out"]
    assert "70 of 100 rows train and 10 validate; by default" in validated
    assert found(shelf, dataset, test=0.2) == found(shelf, dataset, test=0) == {}
    synthetic = {"kind": "synthetic", "features": {"x": {"uniform": [0, 1]}}, "target": "x"}
    assert "800 of 1,000 rows train" in found(shelf, synthetic)[":held_out"]
    assert found(shelf, {"kind": "mnist"}) == {}, "it has its own test rows"


def test_own_test_rows_are_not_held_out_by_default(shelf: Shelf) -> None:
    rows = [f"{'test' if i % 4 else 'train'},{i / 7},{i / 3}" for i in range(40)]
    assert found(shelf, {"id": put(shelf, "p,x,y", rows), "target": "y", "split_by": "p"}) == {}


def test_rows_without_a_target_are_counted(shelf: Shelf) -> None:
    rows = [f"{i / 7},{'' if i < 12 else i / 3}" for i in range(100)]
    warnings = found(shelf, {"id": put(shelf, "x,y", rows), "target": "y"})
    message = "'y' has no value in 12 of 100 rows; rows without a target are left out"
    assert warnings["y:no_target"] == message
    assert "70 of 88 rows train" in warnings[":held_out"]


def test_few_different_whole_numbers_may_be_classes(shelf: Shelf) -> None:
    dataset = {"id": put(shelf, "x,y", [f"{i / 7},{i % 3}" for i in range(60)]), "target": "y"}
    message = (
        "'y' has only 3 different whole numbers in 60 rows; this will be a regression; for classes "
        "say task=classification"
    )
    assert found(shelf, dataset, **ALL_TRAIN) == {"y:few_values": message}
    for task in ("classification", "regression"):
        assert found(shelf, dataset | {"task": task}, **ALL_TRAIN) == {}
    rows = [f"{i / 7},{i % 3 / 2}" for i in range(60)]
    assert found(shelf, {"id": put(shelf, "x,y", rows), "target": "y"}, **ALL_TRAIN) == {}
    counts = [f"{i / 7},{i % 21}" for i in range(200)]
    assert found(shelf, {"id": put(shelf, "x,y", counts), "target": "y"}, **ALL_TRAIN) == {}


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        (["a"] * 9 + ["b"] * 4 + ["c"], None, "classes of 'y' with fewer than 5 rows: 'c' (1), "),
        (["true"] * 9 + ["false"] * 4, None, "with fewer than 5 rows: 'false' (4); so few"),
        ([3] * 9 + [2] * 4, "classification", "with fewer than 5 rows: '2' (4); so few"),
        ([*"abcdefgh"], None, "'a' (1), 'b' (1), 'c' (1), 'd' (1), 'e' (1) and 3 more; so few"),
    ],
)
def test_rare_classes_are_named(
    shelf: Shelf, values: list[Any], task: str | None, message: str
) -> None:
    dataset = put(shelf, "x,y", [f"{i / 7},{value}" for i, value in enumerate(values)])
    request = {"id": dataset, "target": "y", "task": task}
    assert message in found(shelf, request, **ALL_TRAIN)["y:rare_classes"]


def test_rare_classes_of_images_are_named(shelf: Shelf) -> None:
    file = io.BytesIO()
    np.savez(file, x=np.zeros((20, 4, 4), np.uint8), y=np.array(["cat"] * 18 + ["dog"] * 2))
    warnings = found(shelf, {"id": shelf.put(file.getvalue())}, **ALL_TRAIN)
    assert "classes with fewer than 5 rows: 'dog' (2)" in warnings[":rare_classes"]


def test_ids_and_row_numbers_are_warned_of_as_features(shelf: Shelf) -> None:
    rows = [f"{i + 1},u{i:03d},{i % 7},{i / 3}" for i in range(50)]
    dataset = {"id": put(shelf, "row,user,x,y", rows), "target": "y"}
    warnings = found(shelf, dataset, **ALL_TRAIN)
    assert set(warnings) == {"row:index", "user:identifier"}
    assert found(shelf, dataset | {"features": {"x": None}}, **ALL_TRAIN) == {}
    chosen = found(shelf, dataset | {"features": {"row": None}}, **ALL_TRAIN)
    assert set(chosen) == {"row:index"}


def test_target_with_decimal_commas_is_a_value(shelf: Shelf) -> None:
    """It was 30 classes, and the job succeeded with an accuracy of 0.0."""
    rows = [f"{i / 7};{i},5" for i in range(30)]
    dataset = {"id": shelf.put("\n".join(["x;y", *rows])), "target": "y"}
    warnings = found(shelf, dataset, **ALL_TRAIN)
    assert warnings["y:number_spelling"].startswith("'y' is read as numbers: '0,5' is 0.5")
    request = TrainingRequest.model_validate({"dataset": {"kind": "upload"} | dataset})
    assert resolve(request, shelf).dataset.signature().output.kind == "value"


@pytest.mark.parametrize(
    "values",
    [
        [f"{i} box" for i in range(9)],
        [*map(str, range(9)), "n/d"],
        [f"({i})" for i in range(9)],
        [f"<{i}" for i in range(9)],
    ],
)
def test_target_of_texts_that_look_like_numbers_needs_a_task(
    shelf: Shelf, values: list[str]
) -> None:
    rows = [f"{i / 7},{value}" for i, value in enumerate(values)]
    dataset = {"id": put(shelf, "x,y", rows), "target": "y"}
    with pytest.raises(Invalid, match="the column 'y' was read as categories, but 9 of") as refusal:
        found(shelf, dataset)
    assert refusal.value.loc == ("dataset", "target")
    assert "with numeric=y" in refusal.value.msg
    assert refusal.value.msg.endswith("for classes say task=classification")
    task = dataset | {"task": "classification"}
    assert "y:numbers_as_text" in found(shelf, task, **ALL_TRAIN)


@pytest.mark.parametrize(
    "values",
    [
        [f"0{i % 3}" for i in range(30)],
        [f"v{i % 3}.0" for i in range(30)],
        ["0-17", "18-64", "65+"] * 10,
        [f"1.{i % 3}.2" for i in range(30)],
        ["red", "1", "2"] * 10,
    ],
)
def test_texts_that_do_not_look_like_numbers_are_classes(shelf: Shelf, values: list[str]) -> None:
    rows = [f"{i / 7},{value}" for i, value in enumerate(values)]
    found(shelf, {"id": put(shelf, "x,y", rows), "target": "y"})


def test_categories_of_earlier_versions_are_no_classes_if_they_look_like_numbers() -> None:
    def column(*values: str) -> Categorical:
        categories = [Category(value=value, count=1) for value in values]
        return Categorical(name="y", missing=0, categories=categories)

    for values in (("1,5", "2,5"), ("12%", "7,5%"), ("$3.50", "$1,200"), ("1.5", "2.5")):
        with pytest.raises(Invalid, match="look like numbers"):
            check_spelling(column(*values))
    for values in (("1", "2"), ("01", "02"), ("a", "b"), ("1.0.0", "2.0.0"), ("c1", "c2")):
        check_spelling(column(*values))


def test_declared_categories_are_classes(shelf: Shelf) -> None:
    rows = [f"{i / 7},0{i % 3}%" for i in range(30)]
    dataset = put(shelf, "x,y", rows, types={"y": "categorical"})
    assert found(shelf, {"id": dataset, "target": "y"}, **ALL_TRAIN) == {}


def test_long_target_of_texts_that_look_like_numbers_names_the_remedy(shelf: Shelf) -> None:
    rows = [f"{i / 7},{i} box" for i in range(1100)]
    dataset = put(shelf, "x,y", rows)
    with pytest.raises(Invalid, match="to read '0 box' as a number, list it in numeric"):
        found(shelf, {"id": dataset, "target": "y"})
