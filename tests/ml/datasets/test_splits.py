"""Division of rows into splits and folds."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml import datasets
from ml.datasets import Dataset, SplitSpec
from ml.datasets.batches import batches
from ml.datasets.division import divide, fold
from ml.datasets.splits import Rows, Table
from ml.errors import Invalid
from ml.specs import TrainingSpec
from ml.training.cross_validation import FoldResults
from tests.conftest import PLANE


def numbered(classes: list[int]) -> Rows:
    """Rows whose inputs are their indices."""
    numbers = torch.arange(len(classes), dtype=torch.float32).unsqueeze(1)
    return Rows(numbers, torch.tensor(classes))


def numbers(rows: Rows | None) -> list[int]:
    return [] if rows is None else rows.inputs[:, 0].int().tolist()


@given(
    classes=st.lists(st.integers(0, 3), min_size=10, max_size=60),
    validation=st.floats(0.1, 0.4),
    test=st.floats(0.1, 0.4),
    stratify=st.booleans(),
)
def test_each_row_belongs_to_one_split(
    classes: list[int], validation: float, test: float, stratify: bool
) -> None:
    spec = SplitSpec(validation=validation, test=test, stratify=stratify)
    parts = divide(Table(numbered(classes)), spec)
    together = [number for part in parts for number in numbers(part)]
    assert sorted(together) == list(range(len(classes)))
    assert len(numbers(parts.test)) == round(test * len(classes))
    if stratify:
        for label in set(classes):
            share = classes.count(label) / len(classes)
            for part in parts:
                found = sum(classes[number] == label for number in numbers(part))
                assert abs(found - share * len(numbers(part))) <= 2


@given(
    classes=st.lists(st.integers(0, 2), min_size=7, max_size=40),
    folds=st.integers(2, 7),
    stratify=st.booleans(),
)
def test_each_row_is_held_out_once(classes: list[int], folds: int, stratify: bool) -> None:
    spec, rows = SplitSpec(folds=folds, stratify=stratify), numbered(classes)
    left_out = []
    for number in range(folds):
        parts = fold(rows, spec, number)
        assert sorted(numbers(parts.train) + numbers(parts.test)) == numbers(rows)
        left_out += numbers(parts.test)
        for label in set(classes) if stratify else ():
            found = sum(classes[n] == label for n in numbers(parts.test))
            assert abs(found - classes.count(label) / folds) <= 1
    assert sorted(left_out) == numbers(rows)


def test_preprocessing_is_fitted_without_the_held_out_fold() -> None:
    spec = TrainingSpec.of(
        PLANE
        | {"dataset": PLANE["dataset"] | {"standardize": True}, "split": {"folds": 3, "test": 0.1}}
    )
    whole = datasets.load(spec.dataset, spec.split, Path())
    assert whole.test is not None
    means = []
    for number in range(3):
        data: Dataset = datasets.load(spec.dataset, spec.split, Path(), number)
        assert data.test is not None
        assert len(data.train) + len(data.test) == len(whole.train)
        assert data.validation is None
        mean = data.preprocessing.get_buffer("mean")
        torch.testing.assert_close(mean, data.train.inputs.mean(0))
        means.append(tuple(mean.tolist()))
    assert len(set(means)) == 3


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"folds": 1}, "greater than or equal to 2"),
        ({"folds": 3, "validation": 0.1}, "leave validation out"),
        ({"folds": 90}, "folds: 90 is too many for 80 training rows"),
        ({"test": 0.001}, "0.001 of 100 rows is none"),
        ({"stratify": True}, "stratify needs a target of classes"),
    ],
)
def test_impossible_splits_are_refused(split: dict[str, object], message: str) -> None:
    document = PLANE | {"dataset": PLANE["dataset"] | {"size": 100}, "split": split}
    with pytest.raises(Invalid, match=message):
        TrainingSpec.of(document)


def test_cross_validation_summary_uses_metrics_of_all_folds() -> None:
    folds = [{"mse": 1.0, "r2": 0.5}, {"mse": 3.0}]
    assert FoldResults(folds, 0).summary() == {"cv_mse": 2.0, "cv_mse_std": 1.0}
    assert FoldResults([], 0).summary() == {}


def test_batches_match_a_data_loader() -> None:
    assert [batch.tolist() for batch in batches(10, 4, shuffle=False, seed=0)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]
    shuffled = [batch.tolist() for batch in batches(10, 4, shuffle=True, seed=3)]
    order = torch.randperm(10, generator=torch.Generator().manual_seed(3)).tolist()
    assert [number for batch in shuffled for number in batch] == order
