"""Data that a user sent: see `ml.ingest` for how it was read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from ml.datasets import column_types, uploaded_table
from ml.datasets.column_types import FeatureKind, Task
from ml.datasets.splits import Extent, Fitted, Rows, Table, Vocabulary
from ml.datasets.uploaded_images import ImageView
from ml.datasets.uploaded_table import PARTS, TableView
from ml.errors import DataUnavailable, Invalid
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
    """Where uploads are found while a spec is validated: `context={"uploads": ...}`."""

    def find(self, dataset_id: str) -> Upload:
        """Return an upload.

        Raises:
            Invalid: there is none.
        """


class Resolved(Strict):
    """What an upload's spec means, once the upload was looked at."""

    name: str
    content: str
    view: Annotated[TableView | ImageView, Field(discriminator="kind")]


class UploadSpec(Strict):
    """An uploaded data set, and what is to be learned from it."""

    kind: Literal["upload"]
    id: str = Field(max_length=100, examples=["ds_01JD3V0M8Q6W4N2X7Y9Z5K1T3B"])
    target: ColumnName | None = Field(
        default=None,
        validate_default=True,
        description="The column that is learned; by default the one named at upload.",
    )
    task: Task | None = Field(
        default=None,
        validate_default=True,
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
        validate_default=True,
        description="What the fields above mean for the data set as it lies here; filled in.",
    )

    @field_validator("id")
    @classmethod
    def _exists(cls, dataset_id: str, info: ValidationInfo) -> str:
        uploads: Uploads | None = (info.context or {}).get("uploads")
        if uploads:
            uploads.find(dataset_id)
        return dataset_id

    @field_validator("target")
    @classmethod
    def _target_is_a_column(cls, target: str | None, info: ValidationInfo) -> str | None:
        if (upload := _upload(info)) is None:
            return target
        if isinstance(upload.schema, ImageSchema):
            if target is not None:
                raise Invalid("is for tables; images are learned to be told by their folders")
            return None
        target = target or upload.target
        if target is None:
            raise Invalid(f"is not told; name one of {_listed(upload.columns())}")
        column = _column(upload, target)
        column_types.check_target(column, upload.schema.rows)
        return column.name

    @field_validator("task")
    @classmethod
    def _task_fits_the_target(cls, task: Task | None, info: ValidationInfo) -> Task | None:
        upload, target = _upload(info), info.data.get("target")
        if upload is not None and isinstance(upload.schema, ImageSchema) and task == "regression":
            raise Invalid("images are classified, by their folders")
        if upload is None or target is None:
            return task
        return column_types.task_of(_column(upload, target), task)

    @field_validator("split_by")
    @classmethod
    def _split_by_is_a_column(cls, split_by: str | None, info: ValidationInfo) -> str | None:
        if split_by is not None and (upload := _upload(info)) is not None:
            column = _column(upload, split_by)
            if split_by == info.data.get("target"):
                raise Invalid("is the target")
            if not isinstance(column, Categorical):
                raise Invalid(f"is {column.kind}; it must be a column of {', '.join(PARTS)}")
        return split_by

    @field_validator("features")
    @classmethod
    def _features_are_columns(
        cls, features: dict[str, FeatureKind | None] | None, info: ValidationInfo
    ) -> dict[str, FeatureKind | None] | None:
        if features is None or (upload := _upload(info)) is None:
            return features
        if not features:
            raise Invalid("leaves nothing to learn from; name at least one column")
        for name in features:
            for role in ("target", "split_by"):
                if name == info.data.get(role):
                    raise Invalid(f"names {name!r}, which is {role}")
        return {n: column_types.kind_of(_column(upload, n), kind) for n, kind in features.items()}

    @field_validator("resolved")
    @classmethod
    def _is_resolved(cls, given: Resolved | None, info: ValidationInfo) -> Resolved | None:
        asked = info.data
        upload = _upload(info)
        if upload is None and given is None and "id" in asked:
            raise Invalid("an upload is known to the service that has it, and to no other")
        if upload is None or not {"target", "task", "split_by", "features"} <= asked.keys():
            return given
        if given is not None and given.content != upload.content:
            raise Invalid("is of other content than the data set has; leave it out")
        if isinstance(upload.schema, ImageSchema):
            images = ImageView.of(upload.schema)
            return Resolved(name=upload.name, content=upload.content, view=images)
        try:
            view = uploaded_table.view(
                upload.schema,
                upload.directory,
                *(asked[field] for field in ("target", "task", "features", "split_by")),
            )
        except Invalid as error:
            raise Invalid(f"{'.'.join(map(str, error.loc))} {error.msg}") from None
        except FileNotFoundError:
            raise Invalid(f"the data set {upload.id} was deleted") from None
        return Resolved(name=upload.name, content=upload.content, view=view)

    @property
    def known(self) -> Resolved:
        """What it means."""
        assert self.resolved, "a spec that was not looked up is not valid"
        return self.resolved

    def signature(self) -> Signature:
        """Return what a model of this data takes and answers."""
        return self.known.view.signature()

    def extent(self) -> Extent:
        """Return how many rows it has."""
        return self.known.view.extent()

    def load(self, root: Path) -> Table:
        """Read the rows.

        Raises:
            DataUnavailable: they were deleted.
        """
        try:
            return self.known.view.load(root / UPLOADS / self.known.content)
        except FileNotFoundError as error:
            raise DataUnavailable(f"the data set {self.id} was deleted") from error

    def fit(self, train: Rows, vocabulary: Vocabulary) -> Fitted:
        """Return what the training rows teach before any training."""
        return self.known.view.fit(train, vocabulary)

    def coded(self, inputs: Tensor, vocabulary: Vocabulary, signature: Signature) -> Tensor:
        """Return loaded inputs with the codes of categories that a signature has."""
        return self.known.view.coded(inputs, vocabulary, signature)


def _upload(info: ValidationInfo) -> Upload | None:
    """Return the upload that is spoken of, where it can be looked up and was found."""
    uploads: Uploads | None = (info.context or {}).get("uploads")
    return uploads.find(info.data["id"]) if uploads and "id" in info.data else None


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
