"""Groups stay together, times stay in order, and sizes are as near to the shares as they allow."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import datasets
from ml.datasets import SplitSpec, keyed
from ml.datasets.division import divide, fold, warnings
from ml.datasets.splits import Rows, Splits, Table
from ml.errors import Invalid
from ml.specs import TrainingSpec
from tests.conftest import LINE
from tests.ml.datasets.test_splits import numbers
from tests.ml.shelf import Shelf

KEYS = st.lists(st.integers(-1, 9), min_size=10, max_size=30)
quick = settings(deadline=None, max_examples=20)
SPECS: dict[str, dict[str, Any]] = {"group": {"group": "key"}, "time": {"time": "key"}}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def keyed_rows(keys: list[int]) -> Rows:
    """Rows whose inputs are their indices."""
    indices = torch.arange(len(keys), dtype=torch.float32).unsqueeze(1)
    return Rows(indices, indices, torch.tensor(keys))


def keys_of(rows: Rows | None) -> set[int]:
    return set() if rows is None or rows.keys is None else set(rows.keys.tolist())


def check(parts: Splits, keys: list[int], by: str) -> None:
    """Check that each row with a key is in one split, and no key in two."""
    together = [number for part in parts for number in numbers(part)]
    assert sorted(together) == [i for i, key in enumerate(keys) if key >= 0]
    train, validation, test = map(keys_of, parts)
    assert not train & validation
    assert not train & test
    assert not validation & test
    if by == "time" and parts.test is not None:
        assert max(train) < min(test)
        assert max(train | validation) < min(test)
        assert not validation or max(train) < min(validation)


@pytest.mark.parametrize("by", SPECS)
@quick
@given(keys=KEYS, validation=st.sampled_from([0.0, 0.2, 0.5]), seed=st.integers(0, 99))
def test_no_key_has_rows_in_two_splits(
    by: str, keys: list[int], validation: float, seed: int
) -> None:
    spec = SplitSpec(test=0.3, validation=validation, seed=seed, **SPECS[by])
    table = Table(keyed_rows(keys))
    different = len(set(keys) - {-1})
    if different < 2 + bool(validation):
        with pytest.raises(Invalid):
            divide(table, spec)
        return
    parts = divide(table, spec)
    check(parts, keys, by)
    again = divide(table, spec)
    assert [numbers(part) for part in parts] == [numbers(part) for part in again]
    assert (parts.validation is not None) == bool(validation)
    missing = keys.count(-1)
    assert [w.kind for w in warnings(table, spec)] == ["unassigned"] * bool(missing)


@pytest.mark.parametrize("by", SPECS)
@quick
@given(keys=KEYS, folds=st.integers(2, 5))
def test_folds_keep_keys_together(by: str, keys: list[int], folds: int) -> None:
    spec = SplitSpec(test=0.2, folds=folds, **SPECS[by])
    table = Table(keyed_rows(keys))
    if len(set(keys) - {-1}) < folds + 1 + (by == "time"):
        with pytest.raises(Invalid):
            divide(table, spec)
        return
    train = divide(table, spec).train
    held: list[int] = []
    for number in range(folds):
        parts = fold(train, spec, number)
        assert parts.test is not None
        assert len(parts.train)
        assert not keys_of(parts.train) & keys_of(parts.test)
        held += numbers(parts.test)
        if by == "group":
            assert len(parts.train) + len(parts.test) == len(train)
        else:
            # Expanding: all that is older, and nothing that is newer.
            assert max(keys_of(parts.train)) < min(keys_of(parts.test))
            older = {key for key in keys_of(train) if key < min(keys_of(parts.test))}
            assert keys_of(parts.train) == older
    assert len(held) == len(set(held))
    if by == "group":
        assert sorted(held) == numbers(train)


@quick
@given(sizes=st.lists(st.integers(1, 12), min_size=2, max_size=8), wanted=st.integers(1, 40))
def test_held_out_groups_have_the_nearest_size(sizes: list[int], wanted: int) -> None:
    parts = keyed.divide_groups(np.array(sizes), [wanted], seed=3)
    sums = [
        sum(size for size, is_held in zip(sizes, held, strict=True) if is_held)
        for held in product((False, True), repeat=len(sizes))
    ]
    possible = [total for total in sums if 0 < total < sum(sizes)]
    found = int(np.array(sizes)[parts == 1].sum())
    assert abs(found - wanted) == min(abs(total - wanted) for total in possible)


def test_many_groups_have_nearly_the_wanted_size() -> None:
    sizes = np.random.default_rng(0).integers(1, 100, 20_000)
    wanted = [sizes.sum() // 5, sizes.sum() // 10]
    parts = keyed.divide_groups(sizes, wanted, seed=0)
    assert [int(sizes[parts == number].sum()) for number in (1, 2)] == wanted
    large = np.full(50, 1_000_000)
    assert (keyed.divide_groups(large, [12_000_000], seed=0) == 1).sum() == 12


def test_folds_of_groups_are_balanced() -> None:
    sizes = np.array([50, 10, 10, 10, 10, 10])
    folds = keyed.fold_groups(sizes, 2, seed=0)
    assert np.bincount(folds, sizes).tolist() == [50, 50]


def test_splits_of_times_have_the_nearest_sizes() -> None:
    sizes = np.array([4, 4, 4, 4, 1, 1, 2])
    assert keyed.divide_times(sizes, [4, 4]).tolist() == [0, 0, 0, 2, 1, 1, 1]
    assert keyed.divide_times(sizes, [1]).tolist() == [0, 0, 0, 0, 0, 0, 1]
    assert keyed.fold_times(np.array([1, 1, 1, 1, 1, 1]), 2).tolist() == [-1, -1, 0, 0, 1, 1]
    assert keyed.fold_times(np.array([9, 1, 1]), 2).tolist() == [-1, 0, 1]


PATIENTS = "patient,x,day,y\n" + "".join(
    f"{'abcdefghij'[i % 10]},{i},2024-{1 + i % 12:02d}-01,{i * 2}\n" for i in range(100)
)


def test_groups_of_a_table_stay_together(shelf: Shelf) -> None:
    request = {"id": shelf.put(PATIENTS), "target": "y"}
    spec = shelf.spec(request, split={"group": "patient", "validation": 0.1, "folds": None})
    assert list(spec.dataset.signature().inputs.names) == ["x", "day"], "not a feature"  # type: ignore[union-attr]
    data = shelf.load(spec)
    sides = [
        {int(x) % 10 for x in part.inputs[:, 0]}
        for part in (data.train, data.validation, data.test)
        if part
    ]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 10
    assert [len(data.train), len(data.validation or ()), len(data.test or ())] == [70, 10, 20]
    assert shelf.load(spec).fingerprint == data.fingerprint
    other = shelf.load(shelf.spec(request, split={"group": "patient", "seed": 1}))
    assert other.fingerprint != data.fingerprint
    named = request | {"features": {"x": None, "patient": None}}
    spec = shelf.spec(named, split={"group": "patient"})
    assert shelf.load(spec).signature.inputs.names == ["x", "patient"]  # type: ignore[union-attr]


def test_newest_rows_of_a_table_are_the_test(shelf: Shelf) -> None:
    request = {"id": shelf.put(PATIENTS), "target": "y", "features": {"x": None}}
    data = shelf.load(shelf.spec(request, split={"time": "day", "validation": 0.1}))
    assert data.validation is not None
    assert data.test is not None
    months = [
        {1 + int(x) % 12 for x in part.inputs[:, 0]}
        for part in (data.train, data.validation, data.test)
    ]
    assert months == [set(range(1, 10)), {10}, {11, 12}]
    folded = shelf.spec(request, split={"time": "day", "test": 0.0, "folds": 3})
    grown = [datasets.load(folded.dataset, folded.split, shelf.root, number) for number in range(3)]
    assert [len(data.train) for data in grown] == [27, 52, 76]
    by_number = shelf.load(shelf.spec(request | {"features": {"day": None}}, split={"time": "x"}))
    assert by_number.test is not None
    assert by_number.test.targets.shape == (20, 1)


def test_rows_without_a_group_are_left_out_with_a_warning(shelf: Shelf) -> None:
    text = "who,x,y\n" + "".join(f"{['a', 'b', 'c', ''][i % 4]},{i},{i}\n" for i in range(40))
    data = shelf.load(shelf.spec({"id": shelf.put(text), "target": "y"}, split={"group": "who"}))
    assert data.test is not None
    assert len(data.train) + len(data.test) == 30
    [warning] = data.warnings
    assert (warning.kind, warning.column) == ("unassigned", "who")
    assert warning.message.startswith("'who' has no value in 10 of 40 rows")


OWN = "part,who,x,y\n" + "".join(
    f"{'test' if i >= 15 else 'train'},{'abcd'[i // 5]},{i},{i}\n" for i in range(20)
)


def test_splits_of_the_data_set_must_keep_groups_and_times(shelf: Shelf) -> None:
    request = {"id": shelf.put(OWN), "target": "y", "split_by": "part"}
    data = shelf.load(shelf.spec(request, split={"group": "who", "folds": 3}))
    assert data.test is not None
    assert (len(data.train), len(data.test)) == (15, 5)
    assert len(shelf.load(shelf.spec(request, split={"time": "x"})).train) == 15
    mixed = OWN + "train,d,20,20\n"
    request = {"id": shelf.put(mixed), "target": "y", "split_by": "part"}
    with pytest.raises(Invalid, match="1 group of 'who' has rows in more than one of"):
        shelf.spec(request, split={"group": "who"})
    with pytest.raises(Invalid, match="not in the order of 'x'"):
        shelf.spec(request, split={"time": "x"})


@pytest.mark.parametrize(
    ("split", "loc", "message"),
    [
        ({"group": "patent"}, "group", "no column 'patent'; there are patient, x, day"),
        ({"time": "date"}, "time", "there is no column 'date'"),
        ({"group": "y"}, "group", "is the target"),
        ({"time": "patient"}, "time", "'patient' has 'a', which is neither a number nor a date"),
        ({"group": "same"}, "group", "'same' has 1 group, and training and test need one each"),
        ({"time": "same"}, "time", "'same' has 1 different time"),
        ({"group": "none"}, "group", "has no value in any row"),
        (
            {"group": "patient", "folds": 10},
            "folds",
            "10 is too many for 9 groups to train on; .* at most 9",
        ),
        (
            {"time": "day", "folds": 11},
            "folds",
            "11 is too many for 11 different times .* at most 10",
        ),
        ({"group": "patient", "time": "day"}, None, "choose one of the two"),
        ({"group": "patient", "stratify": True}, None, "leave stratify out"),
        ({"time": "flag"}, "time", "'flag' is boolean; choose a column of dates or numbers"),
    ],
)
def test_impossible_divisions_are_refused(
    shelf: Shelf, split: dict[str, Any], loc: str | None, message: str
) -> None:
    head, *lines = PATIENTS.splitlines()
    text = "\n".join([head + ",same,none,flag", *(f"{line},1,,true" for line in lines)])
    with pytest.raises(Invalid, match=message) as error:
        shelf.spec({"id": shelf.put(text), "target": "y"}, split=split)
    assert error.value.loc == (("split",) if loc is None else ("split", loc))


@pytest.mark.parametrize("dataset", [LINE["dataset"], {"kind": "mnist"}])
def test_only_tables_have_groups(dataset: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="only uploaded tables have columns to divide by") as error:
        TrainingSpec.of({"dataset": dataset, "split": {"group": "x"}})
    assert error.value.loc == ("split", "group")
