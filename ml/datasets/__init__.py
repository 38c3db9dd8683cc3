"""Data sets by kind.

A new family is a file with a `Strict` spec that has the methods of `DatasetSource`, and its name in
`Complete`; or in both unions below, where what a user writes is not yet all that is to be known.
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
    """What every data set's spec can do."""

    def signature(self) -> Signature:
        """Return what a model of this data takes and answers, without loading any."""

    def row_counts(self) -> RowCounts:
        """Return how many rows it has, without loading any."""

    def load(self, root: Path) -> Table:
        """Return the rows, from below `root` where the data is files."""

    def fit(self, train: Rows, categories: Categories) -> Fitted:
        """Return what the training rows teach before any training: the layer that brings raw
        inputs into the form a network learns from, and the signature, exactly."""

    def encode_categories(
        self, inputs: Tensor, categories: Categories, signature: Signature
    ) -> Tensor:
        """Return loaded inputs with the codes of categories that a signature has."""


Complete = SyntheticSpec | VisionSpec
"""What says by itself all that is to be known."""
DatasetRequest = Annotated[Complete | UploadRequest, Field(discriminator="kind")]
DatasetSpec = Annotated[Complete | UploadSpec, Field(discriminator="kind")]


def resolve(request: DatasetRequest, uploads: Uploads) -> DatasetSpec:
    """Return the data set that a request means.

    Raises:
        Invalid: see `UploadRequest.resolve`.
    """
    return request.resolve(uploads) if isinstance(request, UploadRequest) else request


def check_split(spec: DatasetSource, split: SplitSpec) -> None:
    """Do nothing where the data can be divided so.

    Raises:
        Invalid: a part would be empty; or strata are asked for, and the target is no class.
    """
    held_out(spec.row_counts(), split)
    if split.stratify and spec.signature().output.kind != "classes":
        raise Invalid("stratify goes by classes, and the target of this data set is a value")


def load(
    spec: DatasetSource,
    split: SplitSpec,
    root: Path,
    fold: int | None = None,
    signature: Signature | None = None,
) -> Dataset:
    """Load, divide and fit: return the data set that `spec` and `split` describe; or of its
    training rows those beside one fold, to train on, and the fold, to test on. With the
    `signature` of a model that its own fits, the rows are such as that model takes.

    Raises:
        DataUnavailable: no source of the data answered.
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

    return Dataset(wanted, fitted.preprocessing, *parts.map(converted))


def _targets(targets: Tensor, data_output: Value | Classes, wanted: Value | Classes) -> Tensor:
    """Return targets, values in units of the data or indices of their own classes, as a network
    answers them."""
    if isinstance(wanted, Value):
        return from_units(targets.squeeze(1), wanted)
    if isinstance(data_output, Value) or data_output.names == wanted.names:
        return targets
    return torch.tensor([wanted.names.index(name) for name in data_output.names])[targets]
