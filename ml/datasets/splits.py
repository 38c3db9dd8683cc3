"""Rows, and the description of their division into training, validation and test splits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ml.ingest.warning import DataWarning
from ml.signature import Signature
from ml.strict import Strict

TEST_FRACTION = 0.2

ColumnName = Annotated[str, Field(max_length=1000)]
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
    group: ColumnName | None = Field(
        default=None,
        description="Column of an uploaded table, such as a patient, whose equal values stay "
        "together: no group has rows in two splits, or in a fold and its training rows. It is a "
        "feature only if `features` names it. Rows without a value are left out.",
        examples=["patient"],
    )
    time: ColumnName | None = Field(
        default=None,
        description="Column of an uploaded table, a number or a date, by which the newest rows are "
        "the test rows and the next newest the validation rows; each fold is newer than the rows "
        "it is trained on. Equal times stay together. It is a feature only if `features` names "
        "it. Rows without a value are left out.",
        examples=["date"],
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="Seed of the assignment of rows or groups to splits; `time` does not use it.",
    )

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> "SplitSpec":
        if self.validation + (self.test or 0.0) >= 1:
            raise ValueError("validation and test together must leave rows to train on")
        if self.folds and self.validation:
            raise ValueError("folds are validated on in turn; leave validation out")
        return self

    @model_validator(mode="after")
    def _divides_in_one_way(self) -> "SplitSpec":
        if self.group is not None and self.time is not None:
            raise ValueError("rows are divided by group or by time; choose one of the two")
        if self.stratify and self.column is not None:
            raise ValueError(
                f"rows of one {self.criterion} stay together, whatever their classes; leave "
                "stratify out"
            )
        return self

    @property
    def column(self) -> str | None:
        """Column that decides the splits of rows; None if chance alone does."""
        return self.group if self.time is None else self.time

    @property
    def criterion(self) -> Literal["group", "time"]:
        """Name of the field that names `column`."""
        return "group" if self.time is None else "time"


BY_CHANCE = SplitSpec()


@dataclass(frozen=True)
class Rows:
    """Inputs `(rows, *shape)` in the dtype of their source, and targets: `(rows, size)` float32
    values or `(rows,)` int64 class indices."""

    inputs: Tensor
    targets: Tensor
    keys: Tensor | None = None
    """Where a column decides the splits, `(rows,)` int64: the rank of its value among the different
    values of the table, from 0, and -1 where it is missing."""

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def nbytes(self) -> int:
        """Memory of inputs and targets, in bytes."""
        return self.inputs.nbytes + self.targets.nbytes

    def at(self, index: Tensor) -> "Rows":
        """Return the rows at `index`."""
        keys = None if self.keys is None else self.keys.index_select(0, index)
        return Rows(self.inputs.index_select(0, index), self.targets.index_select(0, index), keys)

    def spaced(self, count: int) -> "Rows":
        """Return `count` evenly spaced rows, of at least as many."""
        return self.at(evenly_spaced(len(self), count).to(self.inputs.device))

    def split(self, size: int | list[int]) -> "list[Rows]":
        """Return the rows in parts of `size`, of which the last may be smaller, or of these
        sizes."""
        parts = zip(torch.split(self.inputs, size), torch.split(self.targets, size), strict=True)
        return [Rows(*part) for part in parts]

    def to(self, device: torch.device) -> "Rows":
        """Return the rows on `device`."""
        return Rows(self.inputs.to(device), self.targets.to(device))


def evenly_spaced(total: int, count: int) -> Tensor:
    """Return the indices of `count` evenly spaced rows of `total`, from the first on."""
    return torch.arange(count) * total // count


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
