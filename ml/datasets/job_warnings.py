"""Warnings about a job that follow from its request, before its rows are loaded."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow.compute as pc

from ml.datasets import DatasetRequest, DatasetSpec
from ml.datasets.division import held_out
from ml.datasets.splits import TEST_FRACTION, SplitSpec
from ml.datasets.uploaded_table import TableView
from ml.datasets.uploads import Upload, UploadRequest, Uploads, UploadSpec, damage_to
from ml.ingest.names import shown
from ml.ingest.schema import Boolean, Categorical, Column, ImageSchema, Numeric, TableSchema
from ml.ingest.stored import read_table
from ml.ingest.warning import DataWarning, Kind, folded, listed, quoted
from ml.spelling import text_of

FEW_VALUES = 20
"""Number of different whole numbers up to which a target may stand for classes."""
ROWS_PER_VALUE = 3
"""Number of rows for each such value, on average, that classes would have at least."""
RARE = 5
"""Number of rows below which a class is rare."""
MAX_SHOWN = 5
OF_FEATURES: tuple[Kind, ...] = ("identifier", "index")
"""Kinds of a data set's warnings that matter to a job if the column is a feature."""
OF_TARGETS: tuple[Kind, ...] = (
    "large_integers",
    "leading_zeros",
    "number_spelling",
    "numbers_as_text",
)
"""Kinds of a data set's warnings that matter to a job if the column is its target."""


def job_warnings(
    request: DatasetRequest, spec: DatasetSpec, split: SplitSpec, uploads: Uploads
) -> list[DataWarning]:
    """Return the warnings about a job on the data of `spec`, which `request` was resolved to,
    divided by `split`.

    Raises:
        Damaged: the rows of the data are missing, or are not as they were written.
    """
    found = [*_held_out(spec, split)]
    if isinstance(spec, UploadSpec) and isinstance(request, UploadRequest):
        upload = uploads.find(spec.id)
        if isinstance(upload.schema, ImageSchema):
            found += _rare("classes", None, {c.name: c.count for c in upload.schema.classes})
        else:
            found += _of_table(request, spec, upload, upload.schema)
    return folded(found)


def _held_out(spec: DatasetSpec, split: SplitSpec) -> Iterator[DataWarning]:
    counts = spec.row_counts()
    validation, test = held_out(counts, split)
    if split.test is None and test:
        train = counts.rows - validation - test
        # Groups and times are not divided to have exactly the wanted sizes.
        about = "about " if split.column is not None else ""
        validating = f" and {validation:,} validate" if validation else ""
        message = (
            f"{about}{train:,} of {counts.rows:,} rows train{validating}; by default, "
            f"{TEST_FRACTION:g} of the rows are held out for the test; set split.test to choose "
            "another share"
        )
        yield DataWarning(column=None, kind="held_out", message=message)


def _of_table(
    request: UploadRequest, spec: UploadSpec, upload: Upload, schema: TableSchema
) -> Iterator[DataWarning]:
    view = spec.resolved.view
    assert isinstance(view, TableView)
    targets = [upload.columns()[name] for name in view.targets]
    yield from _without_target(targets, schema.rows, sum(view.rows.values()))
    target = targets[0]
    if request.task is None and len(targets) == 1:
        yield from _few_values(target, schema.rows)
    if view.task == "classification":
        yield from _rare(f"classes of {quoted(target.name)}", target.name, _sizes(target, upload))
    for warning in schema.warnings:
        is_of_feature = warning.column in view.features and warning.kind in OF_FEATURES
        is_of_target = warning.column in view.targets and warning.kind in OF_TARGETS
        if is_of_feature or is_of_target:
            yield warning


def _without_target(targets: Sequence[Column], rows: int, used: int) -> Iterator[DataWarning]:
    """Yield a warning if some of `rows` rows lack a target, so that `used` remain."""
    gaps = [target.name for target in targets if target.missing]
    if not gaps:
        return
    column = gaps[0] if len(gaps) == 1 else None
    subject = f"{quoted(column)} has no" if column else f"{listed(gaps)} together lack a"
    rule = "without a target" if len(targets) == 1 else "without a value of every target"
    message = f"{subject} value in {rows - used:,} of {rows:,} rows; rows {rule} are left out"
    yield DataWarning(column=column, kind="no_target", message=message)


def _few_values(target: Column, rows: int) -> Iterator[DataWarning]:
    match target:
        case Numeric(whole=True, distinct=int(distinct)) if distinct <= FEW_VALUES:
            known = rows - target.missing
            if known < ROWS_PER_VALUE * distinct:
                return
            message = (
                f"{quoted(target.name)} has only {distinct} different whole numbers in {known:,} "
                "rows; this will be a regression; for classes say task=classification"
            )
            yield DataWarning(column=target.name, kind="few_values", message=message)


def _rare(subject: str, column: str | None, sizes: Mapping[str, int]) -> Iterator[DataWarning]:
    rare = sorted((size, name) for name, size in sizes.items() if size < RARE)
    if not rare:
        return
    first = ", ".join(f"{shown(name)} ({size})" for size, name in rare[:MAX_SHOWN])
    more = f" and {len(rare) - MAX_SHOWN:,} more" if len(rare) > MAX_SHOWN else ""
    message = (
        f"{subject} with fewer than {RARE} rows: {first}{more}; so few can hardly be learned or "
        "tested"
    )
    yield DataWarning(column=column, kind="rare_classes", message=message)


def _sizes(target: Column, upload: Upload) -> dict[str, int]:
    """Return the number of rows of each class."""
    match target:
        case Categorical(categories=categories):
            return {category.value: category.count for category in categories}
        case Boolean(true=true, missing=missing):
            rows = upload.schema.rows
            return {"true": true, "false": rows - missing - true}
    with damage_to(upload.id):
        [column] = read_table(upload.directory, [target.name]).columns
    counts = pc.value_counts(column.drop_null()).to_pylist()
    return {text_of(one["values"]): one["counts"] for one in counts}
