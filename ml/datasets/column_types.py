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

Task = Literal["regression", "classification"]
FeatureKind = Literal["numeric", "boolean", "categorical"]

FREE_TEXT = (
    f"is free text (over {MAX_CATEGORIES:,} different ones, or one of over {MAX_CATEGORY:,} "
    "characters)"
)


def check_target(column: Column, rows: int, learns: bool = True) -> None:
    """Check that a column of `rows` rows can be a target, to learn from or to evaluate on.

    Raises:
        Invalid: it is free text, or has no value, or a single one to learn from.
    """
    name = column.name
    if isinstance(column, Text):
        raise Invalid(
            f"the column {name!r} {FREE_TEXT}, which is neither a value nor a class; choose another"
        )
    if column.missing == rows:
        raise Invalid(f"the column {name!r} has no value in any row")
    if learns and (only := _only_value(column, rows)) is not None:
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
    """Return the kind of a feature; numbers and booleans can be requested as categories.

    Raises:
        Invalid: the column is free text, or cannot be of the requested kind.
    """
    if isinstance(column, Text):
        raise Invalid(
            f"the column {column.name!r} {FREE_TEXT}, which no model learns from; leave it out"
        )
    if requested in (None, column.kind):
        return column.kind
    if isinstance(column, Numeric) and column.min is None:
        return requested  # without a value, its kind was not seen
    is_countable = isinstance(column, Boolean) or column.distinct is not None
    if requested == "categorical" and is_countable:
        return "categorical"
    raise Invalid(f"the column {column.name!r} is {column.kind} and cannot be used as {requested}")


def width_of(column: Column, kind: FeatureKind) -> int:
    """Return the greatest number of inputs that one feature is encoded as."""
    if kind != "categorical":
        return 1
    match column:
        case Categorical(categories=categories):
            return len(categories)
        case Boolean():
            return 2
        case Numeric(distinct=int(distinct)):
            return distinct
    return MAX_CATEGORIES


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
