"""The target of a data set: one, or several that one model predicts together."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag
from torch import Tensor

from ml.datasets.splits import ColumnName
from ml.errors import Invalid, Loc
from ml.preprocessing import moments
from ml.signature import Value, Values, regression
from ml.strict import as_validation_error

MAX_TARGETS = 64
"""Maximum number of targets of one model."""


def _each_once(names: list[str]) -> list[str]:
    for index, name in enumerate(names):
        if name in names[:index]:
            message = f"names {name!r} a second time; name each column once"
            raise as_validation_error(Invalid(message, (index,)))
    return names


def plain(target: str | list[str]) -> str | list[str]:
    """Return the name instead of a list of one."""
    return target[0] if isinstance(target, list) and len(target) == 1 else target


def _form(target: Any) -> str:
    return "several" if isinstance(target, list) else "one"


Several = Annotated[
    list[ColumnName], Field(min_length=1, max_length=MAX_TARGETS), AfterValidator(_each_once)
]
# The tag is chosen before validation; otherwise each error would be reported for both types.
Target = Annotated[
    Annotated[ColumnName, Tag("one")] | Annotated[Several, Tag("several")],
    Discriminator(_form),
    AfterValidator(plain),
]
"""The name of a column, or several names."""


def names_of(target: str | Sequence[str] | None) -> list[str]:
    """Return the names of a target's columns; none without a target."""
    if target is None:
        return []
    return [target] if isinstance(target, str) else [*target]


def places_of(target: str | Sequence[str] | None) -> Iterator[tuple[Loc, str]]:
    """Yield the name of each of a target's columns, after its place in the target."""
    for index, name in enumerate(names_of(target)):
        yield ((), name) if isinstance(target, str) else ((index,), name)


def one_of(role: str, columns: Sequence[str | None]) -> str:
    """Return in words the role of one of `columns`: `the target`, or of several `a target`."""
    return f"the {role}" if len(columns) == 1 else f"a {role}"


def fit_units(names: Sequence[str], targets: Tensor) -> Value | Values:
    """Return the output whose network's targets have mean 0 and standard deviation 1: those of
    `names`, whose values in the units of the data are the columns of `targets` `(rows, size)`. One
    that does not vary is not scaled."""
    means, deviations = (moment.tolist() for moment in moments(targets))
    return regression(
        [
            Value(name=name, offset=mean, scale=deviation if math.isfinite(deviation) else 1.0)
            for name, mean, deviation in zip(names, means, deviations, strict=True)
        ]
    )
