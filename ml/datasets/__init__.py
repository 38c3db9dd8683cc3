"""Data sets by kind.

To add a kind, write a `Strict` spec with the methods of `DatasetSource` and add it to `Complete`.
If a request has to be resolved first, add request and spec to the unions `DatasetRequest` and
`DatasetSpec`.
"""

from pathlib import Path
from typing import Annotated, Protocol

import torch
from pydantic import Field
from torch import Tensor

from ml.datasets import splits
from ml.datasets.mnist import VisionSpec
from ml.datasets.splits import (
    Categories,
    Dataset,
    Fitted,
    RowCounts,
    Rows,
    SplitSpec,
    Table,
    divide,
    held_out,
)
from ml.datasets.synthetic import SyntheticSpec
from ml.datasets.uploads import UploadRequest, Uploads, UploadSpec
from ml.errors import Invalid, located_at
from ml.signature import Classes, Signature, Value
from ml.units import from_units

__all__ = [
    "Dataset",
    "DatasetRequest",
    "DatasetSource",
    "DatasetSpec",
    "Fitted",
    "Rows",
    "SplitSpec",
    "Table",
    "check_split",
    "load",
    "resolve",
]


class DatasetSource(Protocol):
    """Interface of the spec of every data set."""

    def signature(self) -> Signature:
        """Return the signature of a model of this data, without loading the data."""

    def row_counts(self) -> RowCounts:
        """Return the number of rows, without loading them."""

    def load(self, root: Path) -> Table:
        """Return the rows; data stored in files is read from below `root`."""

    def fit(self, train: Rows, categories: Categories) -> Fitted:
        """Fit the preprocessing to the training rows: return the layer that turns raw inputs into
        the network's inputs, and the exact signature."""

    def encode_categories(
        self, inputs: Tensor, categories: Categories, signature: Signature
    ) -> Tensor:
        """Return loaded inputs with their category codes mapped to those of `signature`."""


Complete = SyntheticSpec | VisionSpec
"""Specs that are complete as the user writes them."""
DatasetRequest = Annotated[Complete | UploadRequest, Field(discriminator="kind")]
DatasetSpec = Annotated[Complete | UploadSpec, Field(discriminator="kind")]


def resolve(request: DatasetRequest, uploads: Uploads) -> DatasetSpec:
    """Return the complete spec of a request.

    Raises:
        Invalid: see `UploadRequest.resolve`.
    """
    return request.resolve(uploads) if isinstance(request, UploadRequest) else request


def check_split(spec: DatasetSource, split: SplitSpec) -> None:
    """Check that the data can be divided as `split` says.

    Raises:
        Invalid: a split would be empty, or `stratify` is set and the target is not a class.
    """
    held_out(spec.row_counts(), split)
    if split.stratify and spec.signature().output.kind != "classes":
        raise Invalid(
            "stratify needs a target of classes, and the target of this data set is a value; "
            "leave stratify out"
        )


def load(
    spec: DatasetSource,
    split: SplitSpec,
    root: Path,
    fold: int | None = None,
    signature: Signature | None = None,
) -> Dataset:
    """Load the data of `spec`, divide it by `split` and fit its preprocessing.

    With `fold`, the training rows are divided again: that fold is the test split, and the others
    are the training split. With `signature`, that of a compatible model, inputs and targets are
    converted to what this model takes.

    Raises:
        DataUnavailable: no source has the data.
        Damaged: a stored file of the data is missing, or is not as it was written.
        Invalid: the data or the split cannot be used; `loc` is within a `TrainingSpec`.
    """
    table = spec.load(root)
    with located_at("split"):
        parts = divide(table, split)
    if fold is not None:
        parts = splits.fold(parts.train, split, fold)
    fitted = spec.fit(parts.train, table.categories)
    wanted, data_output = signature or fitted.signature, fitted.signature.output

    def converted(rows: Rows) -> Rows:
        inputs = spec.encode_categories(rows.inputs, table.categories, wanted)
        return Rows(inputs, _targets(rows.targets, data_output, wanted.output))

    return Dataset(wanted, fitted.preprocessing, *parts.map(converted), warnings=fitted.warnings)


def _targets(targets: Tensor, data_output: Value | Classes, wanted: Value | Classes) -> Tensor:
    """Convert targets from the data's units or class indices to those of the network's output."""
    if isinstance(wanted, Value):
        return from_units(targets.squeeze(1), wanted)
    if isinstance(data_output, Value) or data_output.names == wanted.names:
        return targets
    return torch.tensor([wanted.names.index(name) for name in data_output.names])[targets]
