"""Data that a user sent: see `ml.ingest` for how it was read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field
from torch import Tensor

from ml.datasets import column_types, uploaded_table
from ml.datasets.column_types import FeatureKind, Task
from ml.datasets.splits import Categories, Fitted, RowCounts, Rows, Table
from ml.datasets.uploaded_images import ImageView
from ml.datasets.uploaded_table import PARTS, TableView
from ml.errors import DataUnavailable, Invalid, located_at
from ml.ingest.schema import MAX_COLUMNS, Categorical, Column, ImageSchema, Schema, TableSchema
from ml.signature import Signature
from ml.strict import Strict

UPLOADS = "uploads"
"""The directory of uploads among the data sets."""
MAX_SHOWN = 20

ColumnName = Annotated[str, Field(max_length=1000)]


@dataclass(frozen=True)
class Upload:
    """An uploaded data set as it lies on the disk."""

    id: str
    name: str
    content: str
    """SHA-256 of what was read, and how; its directory bears it as name."""
    schema: Schema
    target: str | None
    """What is learned by default."""
    directory: Path

    def columns(self) -> dict[str, Column]:
        """Return its columns by name; images have none."""
        found = self.schema.columns if isinstance(self.schema, TableSchema) else []
        return {column.name: column for column in found}


class Uploads(Protocol):
    """Where the upload that a request names is looked up."""

    def find(self, dataset_id: str) -> Upload:
        """Return an upload.

        Raises:
            Invalid: there is none.
        """


class NoUploads:
    """The uploads of a program that is not the service."""

    def find(self, dataset_id: str) -> Upload:
        """Refuse every id."""
        raise Invalid("an upload is known to the service that has it, and to no other")


NO_UPLOADS = NoUploads()


class Resolved(Strict):
    """What a request means for the upload that it names."""

    name: str
    content: str
    view: Annotated[TableView | ImageView, Field(discriminator="kind")]


class UploadRequest(Strict):
    """An uploaded data set, and what is to be learned from it."""

    kind: Literal["upload"]
    id: str = Field(max_length=100, examples=["ds_01JD3V0M8Q6W4N2X7Y9Z5K1T3B"])
    target: ColumnName | None = Field(
        default=None,
        description="The column that is learned; by default the one named at upload.",
    )
    task: Task | None = Field(
        default=None,
        description="By default regression for a target of numbers, classification for any other.",
    )
    split_by: ColumnName | None = Field(
        default=None,
        description="A column that says train, validation or test of each row; nothing is learned "
        "from it.",
    )
    features: dict[ColumnName, FeatureKind | None] | None = Field(
        default=None,
        max_length=MAX_COLUMNS,
        description="The columns to learn from, and how each is taken (null: as it is); by default "
        "all but the target, split_by and texts.",
    )
    resolved: Resolved | None = Field(
        default=None,
        description="What the fields above mean for the data set as it lies here; filled in.",
    )

    def resolve(self, uploads: Uploads) -> "UploadSpec":
        """Return the spec that this is for the upload it names.

        Raises:
            Invalid: there is no such upload; or see `resolve_for`.
        """
        with located_at("id"):
            upload = uploads.find(self.id)
        return self.resolve_for(upload)

    def resolve_for(self, upload: Upload) -> "UploadSpec":
        """Return the spec that this is for `upload`.

        Raises:
            Invalid: a column is missing or does not suit its role; `loc` is within this request.
        """
        with located_at("target"):
            target = _target(upload, self.target)
        with located_at("task"):
            task = _task(upload, target, self.task)
        with located_at("split_by"):
            split_by = _split_by(upload, target, self.split_by)
        with located_at("features"):
            features = _features(upload, {"target": target, "split_by": split_by}, self.features)
        if self.resolved is not None and self.resolved.content != upload.content:
            message = "is of other content than the data set has; leave it out"
            raise Invalid(message, ("resolved",))
        view = _view(upload, target, task, features, split_by)
        return UploadSpec(
            kind=self.kind,
            id=self.id,
            target=target,
            task=task,
            split_by=split_by,
            features=None if features is None else {**features},
            resolved=Resolved(name=upload.name, content=upload.content, view=view),
        )


class UploadSpec(UploadRequest):
    """An uploaded data set, what is to be learned from it, and what that means for its content."""

    resolved: Resolved = Field(
        description="What the fields above mean for the data set as it lies here."
    )

    def signature(self) -> Signature:
        """Return what a model of this data takes and answers."""
        return self.resolved.view.signature()

    def row_counts(self) -> RowCounts:
        """Return how many rows it has."""
        return self.resolved.view.row_counts()

    def load(self, root: Path) -> Table:
        """Read the rows.

        Raises:
            DataUnavailable: they were deleted.
        """
        try:
            return self.resolved.view.load(root / UPLOADS / self.resolved.content)
        except FileNotFoundError as error:
            raise DataUnavailable(f"the data set {self.id} was deleted") from error

    def fit(self, train: Rows, categories: Categories) -> Fitted:
        """Return what the training rows teach before any training."""
        return self.resolved.view.fit(train, categories)

    def encode_categories(
        self, inputs: Tensor, categories: Categories, signature: Signature
    ) -> Tensor:
        """Return loaded inputs with the codes of categories that a signature has."""
        return self.resolved.view.encode_categories(inputs, categories, signature)


def _target(upload: Upload, requested: str | None) -> str | None:
    """Return the column that is learned; images have none."""
    if isinstance(upload.schema, ImageSchema):
        if requested is not None:
            raise Invalid("is for tables; images are learned to be told by their folders")
        return None
    target = requested or upload.target
    if target is None:
        raise Invalid(f"is not told; name one of {_listed(upload.columns())}")
    column = _column(upload, target)
    column_types.check_target(column, upload.schema.rows)
    return column.name


def _task(upload: Upload, target: str | None, requested: Task | None) -> Task | None:
    if target is not None:
        return column_types.task_of(_column(upload, target), requested)
    if requested == "regression":
        raise Invalid("images are classified, by their folders")
    return requested


def _split_by(upload: Upload, target: str | None, requested: str | None) -> str | None:
    if requested is None:
        return None
    column = _column(upload, requested)
    if requested == target:
        raise Invalid("is the target")
    if not isinstance(column, Categorical):
        raise Invalid(f"is {column.kind}; it must be a column of {', '.join(PARTS)}")
    return requested


def _features(
    upload: Upload,
    roles: Mapping[str, str | None],
    requested: Mapping[str, FeatureKind | None] | None,
) -> dict[str, FeatureKind] | None:
    """Return how each of the columns that are asked for is taken; `roles` are taken already."""
    if requested is None:
        return None
    if not requested:
        raise Invalid("leaves nothing to learn from; name at least one column")
    for name in requested:
        for role, taken in roles.items():
            if name == taken:
                raise Invalid(f"names {name!r}, which is {role}")
    return {
        name: column_types.kind_of(_column(upload, name), kind) for name, kind in requested.items()
    }


def _view(
    upload: Upload,
    target: str | None,
    task: Task | None,
    features: Mapping[str, FeatureKind] | None,
    split_by: str | None,
) -> TableView | ImageView:
    if isinstance(upload.schema, ImageSchema):
        return ImageView.of(upload.schema)
    assert target is not None, "a table's target was found"
    assert task is not None, "a table's task follows from its target"
    try:
        return uploaded_table.view(
            upload.schema, upload.directory, target, task, features, split_by
        )
    except FileNotFoundError:
        raise Invalid(f"the data set {upload.id} was deleted", ("id",)) from None


def _column(upload: Upload, name: str) -> Column:
    columns = upload.columns()
    if not columns:
        raise Invalid("images have no columns")
    if name not in columns:
        raise Invalid(f"there is no column {name!r}; there are {_listed(columns)}")
    return columns[name]


def _listed(columns: Mapping[str, Column]) -> str:
    names = list(columns)
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(names[:MAX_SHOWN]) + more
