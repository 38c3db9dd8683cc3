"""Uploaded data sets, their rows and batches."""

from datetime import datetime
from typing import Any

from epochd.schemas.base import DataWarning, Schema


class DatasetSummary(Schema):
    """A data set in a list."""

    id: str
    name: str
    owner: str | None = None
    target: str | list[str] | None
    sha256: str
    bytes: int
    created_at: datetime
    kind: str
    rows: int


class DatasetInfo(Schema):
    """An uploaded data set, with its columns or classes."""

    id: str
    name: str
    owner: str | None = None
    target: str | list[str] | None
    sha256: str
    bytes: int
    created_at: datetime
    options: dict[str, Any]
    contents: dict[str, Any]
    warnings: list[DataWarning]
    damage: str | None = None


class Preview(Schema):
    """The first rows of a data set."""

    columns: list[str]
    rows: list[list[Any]]


class TensorPeek(Schema):
    """A tensor with its first values."""

    shape: list[int]
    dtype: str
    values: list[Any]


class Batch(Schema):
    """Input of one training step."""

    inputs: TensorPeek
    targets: TensorPeek


class Batches(Schema):
    """Batches that a DataLoader yields over a data set."""

    rows: int
    batches: int
    features: list[str]
    classes: list[str]
    data: list[Batch]
