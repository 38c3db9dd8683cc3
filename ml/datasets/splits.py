"""Rows, and their division into training, validation and test splits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ml.errors import Invalid
from ml.ingest.warning import DataWarning
from ml.signature import Signature
from ml.strict import Strict

TEST_FRACTION = 0.2

Categories = dict[str, list[str]]
"""The values of each categorical feature; a value's index is its code in the inputs."""


class SplitSpec(Strict):
    """Division of the rows. All that are neither validation nor test rows are training rows."""

    validation: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Fraction of rows held out and evaluated after every epoch.",
    )
    test: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Fraction of rows held out and evaluated at the end. Default: the data set's "
        f"own test split if it has one, else {TEST_FRACTION}.",
    )
    stratify: bool = Field(
        default=False, description="Give every split the same share of each class."
    )
    folds: int | None = Field(
        default=None,
        ge=2,
        le=100,
        description="Number of cross-validation folds of the training rows. For each fold, a model "
        "is trained on the others and evaluated on it; the final model is then trained on all.",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="Seed of the assignment of rows to splits."
    )

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> "SplitSpec":
        if self.validation + (self.test or 0.0) >= 1:
            raise ValueError("validation and test together must leave rows to train on")
        if self.folds and self.validation:
            raise ValueError("folds are validated on in turn; leave validation out")
        return self


@dataclass(frozen=True)
class Rows:
    """Inputs `(rows, *shape)` in the dtype of their source, and targets: `(rows, 1)` float32 values
    or `(rows,)` int64 class indices."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def nbytes(self) -> int:
        """Memory of inputs and targets, in bytes."""
        return self.inputs.nbytes + self.targets.nbytes

    def at(self, index: Tensor) -> "Rows":
        """Return the rows at `index`."""
        return Rows(self.inputs.index_select(0, index), self.targets.index_select(0, index))

    def split(self, size: int | list[int]) -> "list[Rows]":
        """Return the rows in parts of `size`, of which the last may be smaller, or of these
        sizes."""
        parts = zip(torch.split(self.inputs, size), torch.split(self.targets, size), strict=True)
        return [Rows(*part) for part in parts]

    def to(self, device: torch.device) -> "Rows":
        """Return the rows on `device`."""
        return Rows(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True)
class RowCounts:
    """Size of a data set, known without loading it."""

    rows: int
    """Number of rows outside the data set's own validation and test splits."""
    has_test_split: bool
    """Whether the data set has its own test split."""
    has_validation_split: bool = False
    """Whether the data set has its own validation split."""
    builtin_split_rows: int = 0
    """Number of rows in the data set's own splits."""


@dataclass(frozen=True)
class Table:
    """A data set as loaded: its rows, and its own validation and test splits if it has any."""

    rows: Rows
    validation: Rows | None = None
    test: Rows | None = None
    categories: Categories = field(default_factory=dict)


class Splits(NamedTuple):
    """Divided rows. A split that was not requested is None."""

    train: Rows
    validation: Rows | None
    test: Rows | None

    def map(self, change: Callable[[Rows], Rows]) -> "Splits":
        """Return the splits with `change` applied to each."""
        return Splits(
            change(self.train),
            change(self.validation) if self.validation else None,
            change(self.test) if self.test else None,
        )


@dataclass(frozen=True)
class Fitted:
    """Preprocessing and signature fitted to the training rows: see `DatasetSource.fit`."""

    signature: Signature
    preprocessing: nn.Module
    warnings: list[DataWarning] = field(default_factory=list)


@dataclass(frozen=True)
class Dataset:
    """A data set divided and ready to train on. A split that was not requested is None."""

    signature: Signature
    preprocessing: nn.Module
    train: Rows
    validation: Rows | None
    test: Rows | None
    warnings: list[DataWarning] = field(default_factory=list)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every row of every split, in order."""
        digest = sha256()
        for tensor in self._tensors():
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()

    @property
    def nbytes(self) -> int:
        """Memory of all splits, in bytes."""
        return sum(tensor.nbytes for tensor in self._tensors())

    def _tensors(self) -> Iterator[Tensor]:
        for rows in (self.train, self.validation, self.test):
            yield from (rows.inputs, rows.targets) if rows else ()


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


def divide(table: Table, spec: SplitSpec) -> Splits:
    """Return the training, validation and test rows of `table`.

    Raises:
        Invalid: see `held_out`.
    """
    total = len(table.rows)
    row_counts = RowCounts(total, table.test is not None, table.validation is not None)
    validation_size, test_size = held_out(row_counts, spec)
    if test_size + validation_size == 0:
        return Splits(table.rows, table.validation, table.test)
    order = torch.randperm(total, generator=torch.Generator().manual_seed(spec.seed))
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


def fold(train: Rows, spec: SplitSpec, number: int) -> Splits:
    """Return fold `number` (from 0) of `spec.folds` as the test split, and the other folds as the
    training split."""
    assert spec.folds is not None
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(spec.seed))
    if spec.stratify:
        order = order[_by_class(train.targets[order])]
    is_left_out = torch.zeros(len(train), dtype=torch.bool)
    is_left_out[order[number :: spec.folds]] = True
    rest, left_out = (~is_left_out).nonzero(), is_left_out.nonzero()
    return Splits(train.at(rest.squeeze(1)), None, train.at(left_out.squeeze(1)))


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
