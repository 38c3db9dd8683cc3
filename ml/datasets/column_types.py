"""The roles that the columns of an uploaded table can take in a job: target, feature or neither."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from ml.datasets.date_features import all_parts
from ml.errors import Invalid
from ml.ingest.findings import only_value
from ml.ingest.names import shown
from ml.ingest.schema import (
    MAX_CATEGORIES,
    MAX_CATEGORY,
    Boolean,
    Categorical,
    Column,
    Date,
    Numeric,
    Schema,
    TableSchema,
    Text,
)
from ml.ingest.warning import DataWarning
from ml.spelling import PLAIN, Spelling
from ml.spelling.booleans import boolean_in
from ml.spelling.likeness import like_numbers

Task = Literal["regression", "classification"]
FeatureKind = Literal["numeric", "boolean", "categorical", "date"]

MAX_SHOWN = 20
"""Maximum number of names in a message."""
FREE_TEXT = (
    f"is free text (over {MAX_CATEGORIES:,} different ones, or one of over {MAX_CATEGORY:,} "
    "characters)"
)


def instead_of(name: str, columns: Iterable[str]) -> str:
    """Return in words which of `columns` there are instead of `name`: those of the matrix of this
    name in an NPZ file, if it is one."""
    names = [*columns]
    of_matrix = [column for column in names if re.fullmatch(rf"{re.escape(name)}_\d+", column)]
    return f"there are {listed(of_matrix or names)}" + ("; name these" if of_matrix else "")


def listed(names: Sequence[str]) -> str:
    """Return the first of some names, and the number of the others."""
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(names[:MAX_SHOWN]) + more


def check_read(name: str, schema: Schema) -> None:
    """Check that a column was not left out when its file was read.

    Raises:
        Invalid: it was; the message says why.
    """
    if isinstance(schema, TableSchema) and name in schema.left_out:
        raise Invalid(f"{schema.left_out[name]}; it was left out")


def check_target(
    column: Column, rows: int, warnings: Sequence[DataWarning] = (), learns: bool = True
) -> None:
    """Check that a column of `rows` rows can be a target, to learn from or to evaluate on;
    `warnings` are those of its data set.

    Raises:
        Invalid: it is free text or a date, or has no value, or a single one to learn from.
    """
    name = column.name
    if isinstance(column, Text):
        for warning in warnings:
            if (warning.column, warning.kind) == (name, "numbers_as_text"):
                raise Invalid(f"the column {warning.message}")
        raise Invalid(
            f"the column {name!r} {FREE_TEXT}, which is neither a value nor a class; choose another"
        )
    if isinstance(column, Date):
        raise Invalid(
            f"the column {name!r} is a date, which is neither a value nor a class; choose another, "
            "or upload the file again with this column in `categorical`"
        )
    if column.missing == rows:
        raise Invalid(f"the column {name!r} has no value in any row")
    if learns and (only := only_value(column, rows)) is not None:
        raise Invalid(f"the column {name!r} is {only} in every row: there is nothing to learn")


def check_spelling(column: Column) -> None:
    """Check that a target for which no task is requested does not only look like numbers.

    Raises:
        Invalid: its texts do. They would be classes, each with few rows.
    """
    if not isinstance(column, Categorical):
        return
    texts = [category.value for category in column.categories]
    if (like := like_numbers(texts)) is not None:
        raise Invalid(
            f"the column {column.name!r} was read as categories, but {like.hits:,} of its "
            f"{len(texts):,} values look like numbers, such as {shown(like.example)}; upload it "
            f"again with numeric={column.name} and, if need be, decimal, thousands or missing; for "
            "classes say task=classification"
        )


def check_value(column: Column) -> None:
    """Check that a column can be one of several targets.

    Raises:
        Invalid: it has no numbers.
    """
    if not isinstance(column, Numeric):
        raise Invalid(
            f"the column {column.name!r} is {column.kind}, and several targets are predicted as "
            "numbers; choose columns of numbers, or this target alone"
        )


def task_of(column: Column, requested: Task | None) -> Task:
    """Return the task for a target: regression for numbers, unless classification is requested.

    Raises:
        Invalid: the target does not suit the requested task.
    """
    if not isinstance(column, Numeric):
        if requested == "regression":
            raise Invalid(
                f"regression needs a numeric target, and {column.name!r} is {column.kind}; choose "
                "classification"
            )
        return "classification"
    if requested == "classification" and column.distinct is None:
        raise Invalid(
            f"the column {column.name!r} has over {MAX_CATEGORIES:,} different values, too many "
            "for classes; choose regression"
        )
    return requested or "regression"


def kind_of(column: Column, requested: FeatureKind | None) -> FeatureKind:
    """Return the kind of a feature. Numbers, booleans and dates can be requested as categories;
    dates as numbers of days; 1 and 0, and texts such as yes and no, as booleans.

    Raises:
        Invalid: the column is free text, or cannot be of the requested kind.
    """
    if isinstance(column, Text):
        raise Invalid(
            f"the column {column.name!r} {FREE_TEXT}, which no model learns from; leave it out"
        )
    if requested in (None, column.kind):
        return column.kind
    if isinstance(column, Numeric) and column.min is None and requested != "date":
        return requested  # without a value, its kind was not seen
    if isinstance(column, Date) and requested == "numeric":
        return "numeric"
    is_countable = isinstance(column, Boolean) or (
        isinstance(column, Numeric | Date) and column.distinct is not None
    )
    if requested == "categorical" and is_countable:
        return "categorical"
    if requested == "boolean" and _are_booleans(column):
        return "boolean"
    raise Invalid(f"the column {column.name!r} is {column.kind} and cannot be used as {requested}")


def spelling_of(column: Column, kind: FeatureKind) -> Spelling | None:
    """Return how the values of a feature are written, None if that follows from `kind`."""
    if isinstance(column, Date):
        return Spelling(kind="date", date=column.format)
    if not isinstance(column, Numeric) or (kind == "numeric" and column.notation is None):
        return None
    return Spelling(kind="numeric", notation=column.notation or PLAIN)


def width_of(column: Column, kind: FeatureKind) -> int:
    """Return the greatest number of inputs that one feature is encoded as."""
    if isinstance(column, Date) and kind != "categorical":
        return len(all_parts(column.has_times, kind == "numeric"))
    if kind != "categorical":
        return 1
    match column:
        case Categorical(categories=categories):
            return len(categories)
        case Boolean():
            return 2
        case Numeric(distinct=int(distinct)) | Date(distinct=int(distinct)):
            return distinct
    return MAX_CATEGORIES


def _are_booleans(column: Column) -> bool:
    match column:
        case Numeric(whole=True, min=low, max=high):
            return low in (0, 1, None) and high in (0, 1, None)
        case Categorical(categories=categories):
            return all(boolean_in(category.value) is not None for category in categories)
    return False
