"""What the columns of an uploaded table can be to a job: target, feature, or nothing."""

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

Task = Literal["regression", "classification"]
FeatureKind = Literal["numeric", "boolean", "categorical"]

FREE_TEXT = (
    f"is free text (over {MAX_CATEGORIES:,} different ones, or one of over {MAX_CATEGORY:,} "
    "characters)"
)


def check_target(column: Column, rows: int) -> None:
    """Do nothing for a column, of so many rows, that can be learned.

    Raises:
        Invalid: it cannot.
    """
    name = column.name
    if isinstance(column, Text):
        raise Invalid(f"the column {name!r} {FREE_TEXT}, which is neither a value nor a class")
    if column.missing == rows:
        raise Invalid(f"the column {name!r} has no value in any row")
    if (only := _only_value(column, rows)) is not None:
        raise Invalid(f"the column {name!r} is {only} in every row: there is nothing to learn")


def task_of(column: Column, requested: Task | None) -> Task:
    """Return what a target is for: numbers are values unless they are asked to be classes.

    Raises:
        Invalid: it is not for what is asked.
    """
    if not isinstance(column, Numeric):
        if requested == "regression":
            raise Invalid(f"needs a target of numbers, and {column.name!r} is {column.kind}")
        return "classification"
    if requested == "classification" and column.distinct is None:
        raise Invalid(
            f"the column {column.name!r} has over {MAX_CATEGORIES:,} different values, too many "
            "for classes"
        )
    return requested or "regression"


def kind_of(column: Column, requested: FeatureKind | None) -> FeatureKind:
    """Return how a feature is taken: numbers may be asked to be categories.

    Raises:
        Invalid: nothing can be learned from the column, or not so.
    """
    if isinstance(column, Text):
        raise Invalid(
            f"the column {column.name!r} {FREE_TEXT}, which no model here learns from; leave it out"
        )
    if requested in (None, column.kind):
        return column.kind
    if requested == "categorical" and isinstance(column, Numeric) and column.distinct is not None:
        return "categorical"
    raise Invalid(
        f"the column {column.name!r} is {column.kind}, which cannot be taken as {requested}"
    )


def width_of(column: Column, kind: FeatureKind) -> int:
    """Return the most numbers that a feature's value becomes."""
    if kind != "categorical":
        return 1
    return len(column.categories) if isinstance(column, Categorical) else _distinct(column)


def _only_value(column: Numeric | Categorical | Boolean, rows: int) -> str | None:
    """Return the value of a column that has no other."""
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
