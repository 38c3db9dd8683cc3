"""Data sets by kind.

To add a kind, write a `Strict` spec with the methods of `DatasetSource` and add it to `Complete`.
If a request has to be resolved first, add request and spec to the unions `DatasetRequest` and
`DatasetSpec`.
"""

from pathlib import Path
from typing import Annotated, Protocol

import torch
from torch import Tensor

from ml.datasets import division, uploads
from ml.datasets.mnist import VisionSpec
from ml.datasets.splits import (
    BY_CHANCE,
    Categories,
    Dataset,
    Fitted,
    RowCounts,
    Rows,
    SplitSpec,
    Table,
)
from ml.datasets.synthetic import SyntheticSpec
from ml.datasets.uploads import TO_LEARN, UploadRequest, Uploads, UploadSpec, Use
from ml.errors import Invalid, located_at
from ml.signature import Classes, Output, Signature
from ml.strict import ByKind
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
    "Use",
    "check_columns",
    "check_split",
    "load",
    "load_undivided",
    "resolve",
]


class DatasetSource(Protocol):
    """Interface of the spec of every data set."""

    def signature(self) -> Signature:
        """Return the signature of a model of this data, without loading the data."""

    def row_counts(self) -> RowCounts:
        """Return the number of rows, without loading them."""

    def load(self, root: Path, split: SplitSpec = BY_CHANCE) -> Table:
        """Return the rows, with the keys that `split` divides them by; data stored in files is read
        from below `root`."""

    def fit(self, train: Rows, categories: Categories) -> Fitted:
        """Fit the preprocessing to the training rows: return the layer that turns raw inputs into
        the network's inputs, and the exact signature."""

    def encode_categories(
        self, inputs: Tensor, categories: Categories, signature: Signature
    ) -> Tensor:
        """Return loaded inputs with their category codes mapped to those of `signature`."""


Complete = SyntheticSpec | VisionSpec
"""Specs that are complete as the user writes them."""
DatasetRequest = Annotated[Complete | UploadRequest, ByKind()]
DatasetSpec = Annotated[Complete | UploadSpec, ByKind()]


def resolve(request: DatasetRequest, uploads: Uploads, use: Use = TO_LEARN) -> DatasetSpec:
    """Return the complete spec of a request.

    Raises:
        Invalid: see `UploadRequest.resolve`.
    """
    return request.resolve(uploads, use) if isinstance(request, UploadRequest) else request


def check_split(spec: DatasetSource, split: SplitSpec) -> None:
    """Check that the data can be divided as `split` says.

    Raises:
        Invalid: a split would be empty, `stratify` is set and the target is not a class, or `split`
            names a column of data that has none; `loc` is within `split`.
    """
    has_columns = isinstance(spec, UploadSpec) and spec.signature().inputs.kind == "features"
    if split.column is not None and not has_columns:
        raise Invalid(
            f"only uploaded tables have columns to divide by; leave {split.criterion} out",
            (split.criterion,),
        )
    division.held_out(spec.row_counts(), split)
    if split.stratify and spec.signature().output.kind != "classes":
        raise Invalid(
            "stratify needs a target of classes, and this data set has values to predict; leave "
            "stratify out"
        )


def check_columns(spec: DatasetSpec, split: SplitSpec, lookup: Uploads) -> None:
    """Check that the column `split` names, if any, divides the rows of `spec`.

    Raises:
        Invalid: see `check_split` and `ml.datasets.uploads.check_split`; `loc` is within `split`.
    """
    if split.column is None:
        return
    check_split(spec, split)
    if isinstance(spec, UploadSpec):
        uploads.check_split(spec, split, lookup)


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
    table = spec.load(root, split)
    with located_at("split"):
        parts = division.divide(table, split)
        warnings = division.warnings(table, split)
    if fold is not None:
        parts = division.fold(parts.train, split, fold)
    fitted = spec.fit(parts.train, table.categories)
    wanted, data_output = signature or fitted.signature, fitted.signature.output

    def converted(rows: Rows) -> Rows:
        inputs = spec.encode_categories(rows.inputs, table.categories, wanted)
        return Rows(inputs, _targets(rows.targets, data_output, wanted.output))

    return Dataset(
        wanted,
        fitted.preprocessing,
        *parts.map(converted),
        warnings=[*warnings, *fitted.warnings],
    )


def load_undivided(spec: DatasetSource, root: Path, signature: Signature) -> Rows:
    """Load all rows of `spec`, whatever their split, as a model with `signature` takes them.

    Raises:
        DataUnavailable, Damaged, Invalid: see `load`.
    """
    table = spec.load(root)
    parts = [part for part in (table.rows, table.validation, table.test) if part is not None]
    inputs = torch.cat([part.inputs for part in parts])
    targets = torch.cat([part.targets for part in parts])
    return Rows(
        spec.encode_categories(inputs, table.categories, signature),
        _targets(targets, spec.signature().output, signature.output),
    )


def _targets(targets: Tensor, data_output: Output, wanted: Output) -> Tensor:
    """Convert targets from the data's units or class indices to those of the network's output."""
    if not isinstance(wanted, Classes):
        return from_units(targets, wanted)
    if not isinstance(data_output, Classes) or data_output.names == wanted.names:
        return targets
    return torch.tensor([wanted.names.index(name) for name in data_output.names])[targets]
