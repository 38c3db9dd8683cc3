"""Rows, and their division into what is trained on, watched and tested on."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ml.errors import Invalid
from ml.signature import Signature
from ml.strict import Strict

TEST_FRACTION = 0.2


class SplitSpec(Strict):
    """How rows are divided. What is neither validation nor test is trained on."""

    validation: float = Field(
        default=0.0, ge=0, lt=1, description="Fraction held out and measured after every epoch."
    )
    test: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Fraction held out and measured at the end. By default the data set's own test "
        f"split where it has one, else {TEST_FRACTION}.",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Which rows fall into which split.")

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> "SplitSpec":
        if self.validation + (self.test or 0.0) >= 1:
            raise ValueError("validation and test together must leave rows to train on")
        return self


@dataclass(frozen=True)
class Rows:
    """Inputs `(rows, *shape)` in the type they came in, and targets: `(rows, 1)` float32 values or
    `(rows,)` int64 class indices."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def at(self, index: Tensor) -> "Rows":
        """Return the rows at `index`."""
        return Rows(self.inputs.index_select(0, index), self.targets.index_select(0, index))

    def to(self, device: torch.device) -> "Rows":
        """Return the rows on `device`."""
        return Rows(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True)
class Extent:
    """What is known of a data set's size without loading it."""

    rows: int
    """Beside those of its own test split."""
    own_test: bool
    """Whether it brings a test split."""


@dataclass(frozen=True)
class Table:
    """A data set as it was loaded: its rows, and its own test split if it has one."""

    rows: Rows
    test: Rows | None = None


@dataclass(frozen=True)
class Dataset:
    """A data set divided and ready to train on. A split that was not asked for is None."""

    signature: Signature
    preprocessing: nn.Module
    train: Rows
    validation: Rows | None
    test: Rows | None

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256 over every row of every split, in order."""
        digest = sha256()
        for tensor in self._tensors():
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()

    @property
    def nbytes(self) -> int:
        """The memory that its rows take."""
        return sum(tensor.nbytes for tensor in self._tensors())

    def _tensors(self) -> Iterator[Tensor]:
        for rows in (self.train, self.validation, self.test):
            yield from (rows.inputs, rows.targets) if rows else ()


def held_out(extent: Extent, spec: SplitSpec) -> tuple[int, int]:
    """Return how many rows of a data set become the validation and the test split.

    Raises:
        Invalid: a split would be empty, or a test fraction is asked of a data set with its own.
    """
    if extent.own_test and spec.test is not None:
        raise Invalid("this data set brings its own test split; leave test out")
    test = spec.test if spec.test is not None else 0.0 if extent.own_test else TEST_FRACTION
    sizes = []
    for name, fraction in (("validation", spec.validation), ("test", test)):
        sizes.append(size := round(fraction * extent.rows))
        if fraction and not size:
            raise Invalid(
                f"{name}: {fraction:g} of {extent.rows} rows is none; ask for more, or for 0"
            )
    if sum(sizes) >= extent.rows:
        raise Invalid(f"of {extent.rows} rows none remain to train on")
    return sizes[0], sizes[1]


def divide(table: Table, spec: SplitSpec) -> tuple[Rows, Rows | None, Rows | None]:
    """Return the training, validation and test rows of `table`.

    Raises:
        Invalid: see `held_out`.
    """
    total = len(table.rows)
    extent = Extent(total, own_test=table.test is not None)
    validation_size, test_size = held_out(extent, spec)
    if test_size + validation_size == 0:
        return table.rows, None, table.test
    order = torch.randperm(total, generator=torch.Generator().manual_seed(spec.seed))
    test_rows, validation_rows, train_rows = order.tensor_split(
        [test_size, test_size + validation_size]
    )
    return (
        table.rows.at(train_rows),
        table.rows.at(validation_rows) if validation_size else None,
        table.rows.at(test_rows) if test_size else table.test,
    )
