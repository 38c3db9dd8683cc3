"""Uploaded data sets, as `ml.ingest` stored them."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field
from torch import Tensor

from ml.datasets import column_types, split_by, split_keys, uploaded_table
from ml.datasets.column_types import FeatureKind, Task
from ml.datasets.division import divide
from ml.datasets.splits import (
    BY_CHANCE,
    Categories,
    ColumnName,
    Fitted,
    RowCounts,
    Rows,
    SplitSpec,
    Table,
)
from ml.datasets.targets import Target, names_of, one_of, places_of
from ml.datasets.uploaded_images import ImageView
from ml.datasets.uploaded_table import TableView
from ml.errors import DataUnavailable, Invalid, belonging_to, located_at
from ml.ingest.schema import MAX_COLUMNS, Column, ImageSchema, Schema, TableSchema
from ml.signature import Signature
from ml.spelling import ColumnKind
from ml.strict import Strict, at_most

UPLOADS = "uploads"
"""Directory of uploads, relative to that of the data sets."""
REMEDY = "upload the same file again"


@dataclass(frozen=True)
class Upload:
    """An uploaded data set on disk."""

    id: str
    name: str
    content: str
    """SHA-256 of the file and the options it was read with; also the name of its directory."""
    schema: Schema
    target: str | list[str] | None
    """Target column, or several, unless a request names others."""
    directory: Path
    types: Mapping[str, ColumnKind] = field(default_factory=dict)
    """Kinds of columns that the user named at upload."""

    def columns(self) -> dict[str, Column]:
        """Return the columns by name; images have none."""
        found = self.schema.columns if isinstance(self.schema, TableSchema) else []
        return {column.name: column for column in found}


class Uploads(Protocol):
    """Lookup of uploads by id."""

    def find(self, dataset_id: str) -> Upload:
        """Return the upload `dataset_id`.

        Raises:
            Invalid: there is no such upload.
        """


class NoUploads:
    """Lookup for programs other than the service, which have no uploads."""

    def find(self, dataset_id: str) -> Upload:
        """Refuse every id."""
        raise Invalid("uploads are known only to the service that stores them")


NO_UPLOADS = NoUploads()


class Resolved(Strict):
    """A request resolved against the content of the upload it names."""

    name: str
    content: str
    view: Annotated[TableView | ImageView, Field(discriminator="kind")]


@dataclass(frozen=True)
class Use:
    """Purpose for which a request is resolved."""

    divided_by: str | None = None
    """Column by whose values the rows are divided."""
    learns: bool = True
    """Whether a model is trained, for which the target must vary."""


TO_LEARN = Use()


class UploadRequest(Strict):
    """An uploaded data set, and the columns to learn from and to predict."""

    kind: Literal["upload"]
    id: str = Field(max_length=100, examples=["ds_01JD3V0M8Q6W4N2X7Y9Z5K1T3B"])
    target: Target | None = Field(
        default=None,
        description="Target column, or a list of columns of numbers that one model predicts; by "
        "default that named at upload.",
    )
    task: Task | None = Field(
        default=None,
        description="Task; by default regression for a numeric target, else classification. "
        "Several targets are a regression.",
    )
    split_by: ColumnName | None = Field(
        default=None,
        description="Column that assigns each row to a split by a word for train, validation or "
        "test in any case (`Training`, `VALID`, `dev`, `holdout`), or by true and false if its "
        "name is such as `is_test`; by default that of the file's own splits, if it has any. It is "
        "not a feature.",
    )
    features: Annotated[
        dict[ColumnName, FeatureKind | None] | None, at_most(MAX_COLUMNS, "features")
    ] = Field(
        default=None,
        max_length=MAX_COLUMNS,
        description="Feature columns and the kind of each (null: the column's own kind); by "
        "default all but the target, split_by and free text.",
    )
    resolved: Resolved | None = Field(
        default=None,
        description="The fields above resolved against the stored data; filled in by the service.",
    )

    def resolve(self, uploads: Uploads, use: Use) -> "UploadSpec":
        """Return the complete spec, for the upload that this request names.

        Raises:
            Invalid, Damaged: there is no such upload, or see `resolve_for`.
        """
        with located_at("id"):
            upload = uploads.find(self.id)
        return self.resolve_for(upload, use)

    def resolve_for(self, upload: Upload, use: Use = TO_LEARN) -> "UploadSpec":
        """Return the complete spec, for `upload`.

        Raises:
            Invalid: a column is missing or does not suit its role; `loc` is within this request.
            Damaged: the rows are missing, or are not as they were written.
        """
        with located_at("target"):
            target = _target(upload, self.target, self.task, use)
        targets = names_of(target)
        with located_at("task"):
            task = _task(upload, targets, self.task)
        with located_at("split_by"):
            assigned_by = _split_by(upload, targets, self.split_by)
        roles: dict[str, Sequence[str | None]] = {"target": targets, "split_by": [assigned_by]}
        with located_at("features"):
            features = _features(upload, roles, self.features)
        if self.resolved is not None and self.resolved.content != upload.content:
            message = "does not match the content of the data set; leave it out"
            raise Invalid(message, ("resolved",))
        view = _view(upload, target, task, features, assigned_by, use)
        return UploadSpec(
            kind=self.kind,
            id=self.id,
            target=target,
            task=task,
            split_by=assigned_by,
            features=None if features is None else {**features},
            resolved=Resolved(name=upload.name, content=upload.content, view=view),
        )


class UploadSpec(UploadRequest):
    """An uploaded data set, its target and features, resolved against its content."""

    resolved: Resolved = Field(description="The fields above resolved against the stored data.")

    def signature(self) -> Signature:
        """Return the signature of a model of this data."""
        return self.resolved.view.signature()

    def row_counts(self) -> RowCounts:
        """Return the number of rows of each split."""
        return self.resolved.view.row_counts()

    def load(self, root: Path, split: SplitSpec = BY_CHANCE) -> Table:
        """Read the rows.

        Raises:
            DataUnavailable: the upload was deleted, or its directory is missing.
            Damaged: a file is missing, or is not as it was written.
            Invalid: the rows cannot be used or divided.
        """
        directory = root / UPLOADS / self.resolved.content
        if not directory.exists():
            raise DataUnavailable(
                f"the data set {self.id} was deleted, or its files are missing; {REMEDY}"
            )
        with damage_to(self.id):
            view = self.resolved.view
            return (
                view.load(directory) if isinstance(view, ImageView) else view.load(directory, split)
            )

    def fit(self, train: Rows, categories: Categories) -> Fitted:
        """Return the preprocessing and the signature fitted to the training rows."""
        return self.resolved.view.fit(train, categories)

    def encode_categories(
        self, inputs: Tensor, categories: Categories, signature: Signature
    ) -> Tensor:
        """Return loaded inputs with their category codes mapped to those of `signature`."""
        return self.resolved.view.encode_categories(inputs, categories, signature)


def damage_to(dataset_id: str) -> AbstractContextManager[None]:
    """Name the data set in every `Damaged` raised in this context."""
    return belonging_to(f"the data set {dataset_id}", REMEDY)


def check_split(spec: UploadSpec, split: SplitSpec, uploads: Uploads) -> None:
    """Check that the column of a split by group or time exists and divides the rows.

    Raises:
        Invalid: it does not; `loc` is within `split`.
        Damaged: the rows are missing, or are not as they were written.
    """
    view, name = spec.resolved.view, split.column
    if name is None or isinstance(view, ImageView):
        return
    upload = uploads.find(spec.id)
    with located_at(split.criterion):
        column = _column(upload, name)
        for role, taken in (("target", view.targets), ("split_by column", [view.split_by])):
            if name in taken:
                raise Invalid(f"is {one_of(role, taken)}; choose another column")
    split_keys.check_kind(column, split)
    with damage_to(upload.id):
        table = view.load_keys(upload.directory, split)
    divide(table, split)


def _target(
    upload: Upload, requested: str | list[str] | None, task: Task | None, use: Use
) -> str | list[str] | None:
    """Return the target column, or columns, for `task`; images have none."""
    if isinstance(upload.schema, ImageSchema):
        if requested is not None:
            raise Invalid(
                "applies only to tables; images are classified by their folders; leave it out"
            )
        return None
    target = requested or upload.target
    if target is None:
        raise Invalid(f"is missing; choose one of {column_types.listed([*upload.columns()])}")
    for place, name in places_of(target):
        with located_at(*place):
            column = _column(upload, name)
            warnings = upload.schema.warnings
            column_types.check_target(column, upload.schema.rows, warnings, use.learns)
            if task is None and name not in (*upload.types, *upload.schema.labels):
                column_types.check_spelling(column)
            if place:
                column_types.check_value(column)
    return target


def _task(upload: Upload, targets: Sequence[str], requested: Task | None) -> Task | None:
    if len(targets) > 1 and requested == "classification":
        raise Invalid(
            "several targets are predicted as numbers; choose regression, or name one target"
        )
    if targets:
        return column_types.task_of(_column(upload, targets[0]), requested)
    if requested == "regression":
        raise Invalid("images are classified by their folders; choose classification")
    return requested


def _split_by(upload: Upload, targets: Sequence[str], requested: str | None) -> str | None:
    if requested is None:
        own = upload.schema.split_by if isinstance(upload.schema, TableSchema) else None
        return own if own not in targets else None
    column = _column(upload, requested)
    if requested in targets:
        raise Invalid(f"is {one_of('target', targets)}; choose another column")
    split_by.check_kind(column)
    return requested


def _features(
    upload: Upload,
    roles: Mapping[str, Sequence[str | None]],
    requested: Mapping[str, FeatureKind | None] | None,
) -> dict[str, FeatureKind] | None:
    """Return the kind of each requested feature, which cannot have one of `roles`."""
    if requested is None:
        return None
    if not requested:
        raise Invalid("leaves nothing to learn from; name at least one column")
    for name in requested:
        for role, taken in roles.items():
            if name in taken:
                which = one_of(f"{role} column", taken)
                raise Invalid(f"names {name!r}, which is {which}; leave it out")
    return {
        name: column_types.kind_of(_column(upload, name), kind) for name, kind in requested.items()
    }


def _view(
    upload: Upload,
    target: str | list[str] | None,
    task: Task | None,
    features: Mapping[str, FeatureKind] | None,
    assigned_by: str | None,
    use: Use,
) -> TableView | ImageView:
    if isinstance(upload.schema, ImageSchema):
        return ImageView.of(upload.schema)
    assert target is not None, "a table's target was found"
    assert task is not None, "a table's task follows from its target"
    with damage_to(upload.id):
        return uploaded_table.view(
            upload.schema, upload.directory, target, task, features, assigned_by, use.divided_by
        )


def _column(upload: Upload, name: str) -> Column:
    columns = upload.columns()
    column_types.check_read(name, upload.schema)
    if not columns:
        raise Invalid("images have no columns")
    if name not in columns:
        raise Invalid(f"there is no column {name!r}; {column_types.instead_of(name, columns)}")
    return columns[name]
