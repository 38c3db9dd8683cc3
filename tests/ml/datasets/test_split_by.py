"""Words for splits in any case and spelling, and truths under a name that says what they mean."""

from pathlib import Path
from typing import Any

import pytest

from ml.errors import Invalid
from tests.ml.shelf import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def sizes(shelf: Shelf, name: str, values: list[str], **split: Any) -> dict[str, int]:
    rows = "".join(f"{i},{value},{i}\n" for i, value in enumerate(values))
    dataset = shelf.put(f"x,{name},y\n{rows}")
    spec = shelf.spec({"id": dataset, "target": "y", "split_by": name}, split=split)
    data = shelf.load(spec)
    assert data.signature.inputs.names == ["x"]  # type: ignore[union-attr]
    found = {"train": data.train, "validation": data.validation, "test": data.test}
    counts = {part: len(rows) for part, rows in found.items() if rows is not None}
    assert spec.dataset.row_counts().rows == counts["train"]
    return counts


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("part", ["Train", "TRAINING", "VALID", "dev", "Test", "hold-out"], (2, 2, 2)),
        ("is_test", ["true", "false", "false"], (2, 0, 1)),
        ("IsTest", ["True", "False", "False"], (2, 0, 1)),
        ("test", ["1", "0", "0"], (2, 0, 1)),
        ("is_train", ["1", "0", "1"], (2, 0, 1)),
        ("holdout", ["yes", "no", "no"], (2, 0, 1)),
        ("in_validation_set", ["Y", "N", "N"], (2, 1, 0)),
        ("is_train", ["yes"] * 5, (5, 0, 0)),
    ],
)
def test_columns_assign_rows(
    shelf: Shelf, name: str, values: list[str], expected: tuple[int, ...]
) -> None:
    parts = zip(("train", "validation", "test"), expected, strict=True)
    split = {} if expected[1] or expected[2] else {"test": 0.0}
    found = sizes(shelf, name, values, **split)
    assert found == {part: count for part, count in parts if count}


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("part", ["true", "false"], "its name does not say which of them is the test"),
        ("part", ["0", "1"], "has the values 0, 1, and its name does not say"),
        ("fold", ["1", "2"], "is numeric and has other values than 0 and 1"),
        ("part", ["train", "red"], "has the value 'red' in some rows; allowed are train, valid"),
        ("part", ["train", ""], "has no value in some rows"),
        ("is_test", ["true", ""], "has no value in some rows"),
        ("part", ["test", "val"], "has no training rows"),
        ("is_test", ["true", "true"], "has no training rows"),
    ],
)
def test_unclear_columns_are_refused(
    shelf: Shelf, name: str, values: list[str], message: str
) -> None:
    with pytest.raises(Invalid, match=message) as error:
        sizes(shelf, name, values)
    assert error.value.loc == ("dataset", "split_by")
