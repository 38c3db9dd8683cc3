"""Images with splits of their own, from the writer to a job's data."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ml.datasets.uploaded_images import ImageView
from ml.errors import Invalid
from ml.ingest.image_writer import ImageWriter
from ml.ingest.schema import ImageSchema, Part

ROWS: list[tuple[str, Part]] = [
    ("b", "train"),
    ("a", "train"),
    ("a", "validation"),
    ("b", "test"),
    ("c", "test"),
]


def written(into: Path, rows: list[tuple[str, Part]]) -> ImageSchema:
    with ImageWriter(into, len(rows), [2, 3], 1, ["a", "b", "c"]) as writer:
        for number, (label, part) in enumerate(rows):
            writer.add(np.full((2, 3), number, np.uint8), label, part)
    return writer.schema()


def test_splits_of_a_file_are_those_of_jobs(tmp_path: Path) -> None:
    schema = written(tmp_path, ROWS)
    assert schema.splits == {"train": 2, "validation": 1, "test": 2}
    # Documents may be stored with sorted keys.
    kept = schema.model_copy(update={"splits": dict(sorted(schema.splits.items()))})
    view = ImageView.of(kept)
    counts = view.row_counts()
    assert (counts.rows, counts.builtin_split_rows) == (2, 3)
    assert (counts.has_validation_split, counts.has_test_split) == (True, True)
    table = view.load(tmp_path)
    assert table.validation is not None
    assert table.test is not None
    parts = [table.rows, table.validation, table.test]
    assert [part.inputs[:, 0, 0].tolist() for part in parts] == [[0, 1], [2], [3, 4]]
    assert [part.targets.tolist() for part in parts] == [[1, 0], [0], [1, 2]]


def test_a_class_without_training_images_is_a_warning(tmp_path: Path) -> None:
    [warning] = written(tmp_path, ROWS).warnings
    assert (warning.column, warning.kind) == (None, "unseen_class")
    assert "no training image of 'c'" in warning.message


def test_images_without_splits_have_none(tmp_path: Path) -> None:
    schema = written(tmp_path, [("a", "train"), ("b", "train"), ("c", "train")])
    assert (schema.splits, schema.warnings) == (None, [])
    # As views were stored before there were splits.
    stored = ImageView.of(schema).model_dump(exclude={"splits"})
    view = ImageView.model_validate(stored)
    assert view.row_counts().builtin_split_rows == 0
    table = view.load(tmp_path)
    assert (len(table.rows), table.validation, table.test) == (3, None, None)
    assert torch.equal(table.rows.targets, torch.tensor([0, 1, 2]))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "test"), ("b", "test")], "no training images"),
        ([("a", "train"), ("b", "test")], "training images of one class"),
    ],
)
def test_training_images_are_needed(
    tmp_path: Path, rows: list[tuple[str, Part]], message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        written(tmp_path, rows)
