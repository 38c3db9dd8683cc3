"""The roles that the columns of an uploaded table can take in a job: target, feature or neither."""

from typing import Literal

from ml.errors import Invalid
from ml.ingest.schema import (
    MAX_CATEGORIES,
    MAX_CATEGORY,
    Boolean,
    Categorical,
    Column,
    Numeric,
    Text,
)
from ml.spelling import PLAIN, Spelling
from ml.spelling.booleans import boolean_in

Task = Literal["regression", "classification"]
FeatureKind = Literal["numeric", "boolean", "categorical"]

FREE_TEXT = (
    f"is free text (over {MAX_CATEGORIES:,} different ones, or one of over {MAX_CATEGORY:,} "
    "characters)"
)


def check_target(column: Column, rows: int) -> None:
    """Check that a column of `rows` rows can be a target.

    Raises:
        Invalid: it is free text, or has no value or a single one.
    """
    name = column.name
    if isinstance(column, Text):
        raise Invalid(
            f"the column {name!r} {FREE_TEXT}, which is neither a value nor a class; choose another"
        )
    if column.missing == rows:
        raise Invalid(f"the column {name!r} has no value in any row")
    if (only := _only_value(column, rows)) is not None:
        raise Invalid(f"the column {name!r} is {only} in every row: there is nothing to learn")


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
    """Return the kind of a feature. Numbers can be requested as categories; 1 and 0, and texts
    such as yes and no, as booleans.

    Raises:
        Invalid: the column is free text, or cannot be of the requested kind.
    """
    if isinstance(column, Text):
        raise Invalid(
            f"the column {column.name!r} {FREE_TEXT}, which no model learns from; leave it out"
        )
    if requested in (None, column.kind):
        return column.kind
    if requested == "categorical" and isinstance(column, Numeric) and column.distinct is not None:
        return "categorical"
    if requested == "boolean" and _are_booleans(column):
        return "boolean"
    raise Invalid(f"the column {column.name!r} is {column.kind} and cannot be used as {requested}")


def spelling_of(column: Column, kind: FeatureKind) -> Spelling | None:
    """Return how the values of a feature are written, None if that follows from `kind`."""
    if not isinstance(column, Numeric) or (kind == "numeric" and column.notation is None):
        return None
    return Spelling(kind="numeric", notation=column.notation or PLAIN)


def width_of(column: Column, kind: FeatureKind) -> int:
    """Return the greatest number of inputs that one feature is encoded as."""
    if kind != "categorical":
        return 1
    return len(column.categories) if isinstance(column, Categorical) else _distinct(column)


def _are_booleans(column: Column) -> bool:
    match column:
        case Numeric(whole=True, min=low, max=high):
            return low in (0, 1, None) and high in (0, 1, None)
        case Categorical(categories=categories):
            return all(boolean_in(category.value) is not None for category in categories)
    return False


def _only_value(column: Numeric | Categorical | Boolean, rows: int) -> str | None:
    """Return the value of a column that has only one, else None."""
    match column:
        case Numeric(min=float(low), max=high) if low == high:
            return f"{low:g}"
        case Categorical(categories=[category]):
            return repr(category.value)
        case Boolean(true=true, missing=missing) if true in (0, rows - missing):
            return "true" if true else "false"
    return None


def _distinct(column: Column) -> int:
    return (column.distinct if isinstance(column, Numeric) else None) or MAX_CATEGORIES
