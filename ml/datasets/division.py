"""Division of rows into training, validation and test splits, and into folds."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml.datasets import keyed
from ml.datasets.splits import TEST_FRACTION, RowCounts, Rows, Splits, SplitSpec, Table
from ml.errors import Invalid
from ml.ingest.warning import DataWarning, quoted


def held_out(row_counts: RowCounts, spec: SplitSpec) -> tuple[int, int]:
    """Return the number of rows to hold out for the validation and the test split.

    Raises:
        Invalid: a split would be empty, or is requested of a data set that has its own.
    """
    if row_counts.has_test_split and spec.test is not None:
        raise Invalid("this data set has its own test split; leave test out")
    if row_counts.has_validation_split and spec.validation:
        raise Invalid("this data set has its own validation split; leave validation out")
    if row_counts.has_validation_split and spec.folds:
        raise Invalid("this data set has its own validation split; leave folds out")
    has_builtin_split = row_counts.has_test_split or row_counts.has_validation_split
    test = spec.test if spec.test is not None else 0.0 if has_builtin_split else TEST_FRACTION
    sizes = []
    for name, fraction in (("validation", spec.validation), ("test", test)):
        sizes.append(size := round(fraction * row_counts.rows))
        if fraction and not size:
            raise Invalid(
                f"{name}: {fraction:g} of {row_counts.rows} rows is none; choose a larger "
                "fraction, or 0"
            )
    left = row_counts.rows - sum(sizes)
    if left <= 0:
        raise Invalid(
            f"of {row_counts.rows} rows none is left to train on; hold out smaller fractions"
        )
    if spec.folds and spec.folds > left:
        raise Invalid(
            f"folds: {spec.folds} is too many for {left} training rows; choose at most {left}"
        )
    return sizes[0], sizes[1]


def training_sizes(row_counts: RowCounts, spec: SplitSpec) -> list[int]:
    """Return the number of training rows of each run of a job: those of the folds, and that of the
    final model; empty if the values of a column decide.

    Raises:
        Invalid: see `held_out`.
    """
    if spec.column is not None:
        return []
    rows, folds = row_counts.rows - sum(held_out(row_counts, spec)), spec.folds or 0
    return [*(rows - len(range(number, rows, folds)) for number in range(folds)), rows]


def divide(table: Table, spec: SplitSpec) -> Splits:
    """Return the training, validation and test rows of `table`.

    Raises:
        Invalid: see `held_out`; or `spec` names a column that has too few different values, or that
            the data set's own splits cut across. `loc` is within `spec`.
    """
    if spec.column is not None:
        return _divide_by_column(table, spec)
    total = len(table.rows)
    validation_size, test_size = held_out(_row_counts(table), spec)
    if test_size + validation_size == 0:
        return Splits(table.rows, table.validation, table.test)
    order = torch.randperm(total, generator=_generator(spec))
    if spec.stratify:
        order = order[_evenly(table.rows.targets[order])]
    test_rows, validation_rows, train_rows = order.tensor_split(
        [test_size, test_size + validation_size]
    )
    return Splits(
        table.rows.at(train_rows),
        table.rows.at(validation_rows) if validation_size else table.validation,
        table.rows.at(test_rows) if test_size else table.test,
    )


def warnings(table: Table, spec: SplitSpec) -> list[DataWarning]:
    """Return a warning if rows of `table` are left out of every split."""
    if spec.column is None:
        return []
    count = sum(int((_keys(part) < 0).sum()) for part in _parts(table))
    if not count:
        return []
    total = sum(len(part) for part in _parts(table))
    message = (
        f"{quoted(spec.column)} has no value in {count:,} of {total:,} rows; they belong to no "
        f"{spec.criterion}, so they are neither trained nor tested on"
    )
    return [DataWarning(column=spec.column, kind="unassigned", message=message)]


def fold(train: Rows, spec: SplitSpec, number: int) -> Splits:
    """Return fold `number` (from 0) of `spec.folds` as the test split, and the other folds as the
    training split; with `spec.time`, only the rows that are older than the fold."""
    assert spec.folds is not None
    if spec.column is not None:
        return _fold_by_column(train, spec, spec.folds, number)
    order = torch.randperm(len(train), generator=_generator(spec))
    if spec.stratify:
        order = order[_by_class(train.targets[order])]
    is_left_out = torch.zeros(len(train), dtype=torch.bool)
    is_left_out[order[number :: spec.folds]] = True
    return Splits(train.at(_where(~is_left_out)), None, train.at(_where(is_left_out)))


def _divide_by_column(table: Table, spec: SplitSpec) -> Splits:
    """Divide rows by the values of a column, which stay together."""
    parts = [_with_keys(part) for part in _parts(table)]
    if not all(map(len, parts)):
        raise Invalid(
            "has no value in any row of a split; choose another column", (spec.criterion,)
        )
    table = Table(
        parts[0],
        parts[1] if table.validation else None,
        parts[-1] if table.test else None,
        table.categories,
    )
    _check_own_splits(table, spec)
    held = held_out(_row_counts(table), spec)
    place, sizes = _values(table.rows)
    wanted = zip(("test", "validation"), held[::-1], strict=True)
    requested = {name: rows for name, rows in wanted if rows}
    if len(requested) >= len(sizes):
        raise _too_few(len(sizes), ["training", *requested], spec)
    least = _least_to_train_on(len(sizes) - len(requested), spec)
    if spec.time is None:
        part_of_value = keyed.divide_groups(sizes, list(requested.values()), spec.seed, least)
    else:
        part_of_value = keyed.divide_times(sizes, list(requested.values()), least)
    part_of_row = torch.from_numpy(part_of_value)[place]
    found = [table.rows.at(_where(part_of_row == part)) for part in range(len(requested) + 1)]
    held_rows = dict(zip(requested, found[1:], strict=True))
    return Splits(
        found[0], held_rows.get("validation", table.validation), held_rows.get("test", table.test)
    )


def _fold_by_column(train: Rows, spec: SplitSpec, folds: int, number: int) -> Splits:
    place, sizes = _values(train)
    if spec.time is None:
        fold_of_row = torch.from_numpy(keyed.fold_groups(sizes, folds, spec.seed))[place]
        others = fold_of_row != number
    else:
        fold_of_row = torch.from_numpy(keyed.fold_times(sizes, folds))[place]
        others = fold_of_row < number
    return Splits(train.at(_where(others)), None, train.at(_where(fold_of_row == number)))


def _check_own_splits(table: Table, spec: SplitSpec) -> None:
    """Check that the data set's own splits keep values together, and times in order."""
    parts = [keys.unique() for keys in map(_keys, _parts(table))]  # type: ignore[no-untyped-call]
    together = torch.cat(parts)
    if shared := len(together) - len(together.unique()):  # type: ignore[no-untyped-call]
        raise Invalid(
            f"{keyed.counted(shared, spec.criterion)} of {quoted(str(spec.column))} "
            f"{'has' if shared == 1 else 'have'} rows in more than one of the data set's own "
            f"splits; leave {spec.criterion} or split_by out",
            (spec.criterion,),
        )
    if spec.time is not None and not bool((together.diff() > 0).all()):
        raise Invalid(
            f"the data set's own splits are not in the order of {quoted(spec.time)}: training, "
            "validation, test; leave time or split_by out",
            ("time",),
        )


def _least_to_train_on(most: int, spec: SplitSpec) -> int:
    """Return the least number of values among the training rows, of which there can be `most`."""
    if spec.folds is None:
        return 1
    # The oldest time is in no fold.
    most_folds = most - (spec.time is not None)
    if spec.folds > most_folds:
        remedy = f"choose at most {most_folds}" if most_folds >= 2 else "leave folds out"
        found = keyed.counted(most, spec.criterion)
        apart = ", the oldest of which is only trained on" if spec.time is not None else ""
        message = f"{spec.folds} is too many for {found} to train on{apart}; {remedy}"
        raise Invalid(message, ("folds",))
    return spec.folds + (spec.time is not None)


def _too_few(values: int, parts: Sequence[str], spec: SplitSpec) -> Invalid:
    needed = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    found = keyed.counted(values, spec.criterion)
    message = (
        f"{quoted(str(spec.column))} has {found}, and {needed} need one each; hold out fewer "
        "splits, or choose another column"
    )
    return Invalid(message, (spec.criterion,))


def _parts(table: Table) -> list[Rows]:
    """Return the rows and the data set's own splits, the oldest first if they follow a time."""
    return [part for part in (table.rows, table.validation, table.test) if part is not None]


def _with_keys(rows: Rows) -> Rows:
    has_key = _keys(rows) >= 0
    return rows if bool(has_key.all()) else rows.at(_where(has_key))


def _keys(rows: Rows) -> Tensor:
    assert rows.keys is not None, "rows are loaded with the column that divides them"
    return rows.keys


def _values(rows: Rows) -> tuple[Tensor, NDArray[np.int64]]:
    """Return the place of each row's key among the different keys in order, and the number of rows
    of each."""
    _, place, counts = torch.unique(_keys(rows), return_inverse=True, return_counts=True)
    return place, counts.numpy()


def _row_counts(table: Table) -> RowCounts:
    return RowCounts(len(table.rows), table.test is not None, table.validation is not None)


def _generator(spec: SplitSpec) -> torch.Generator:
    return torch.Generator().manual_seed(spec.seed)


def _where(chosen: Tensor) -> Tensor:
    return chosen.nonzero().squeeze(1)


def _by_class(classes: Tensor) -> Tensor:
    return torch.argsort(classes, stable=True)


def _evenly(classes: Tensor) -> Tensor:
    """Return an order of rows that spreads each class evenly, so that any contiguous part has all
    classes in proportion."""
    by_class = _by_class(classes)
    counts = torch.bincount(classes)
    within = torch.arange(len(classes)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    place = (within + 0.5) / torch.repeat_interleave(counts, counts)
    return by_class[torch.argsort(place, stable=True)]
