"""Warnings about the columns of a table, found while it is read."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ml.ingest.clues import NumberClues
from ml.ingest.names import shown
from ml.ingest.schema import (
    MAX_CATEGORIES,
    MAX_CATEGORY,
    Boolean,
    Categorical,
    Column,
    Date,
    Numeric,
    Text,
)
from ml.ingest.warning import DataWarning, Kind, quoted
from ml.spelling import ColumnKind

MIN_IDENTIFIERS = 10
"""Number of different texts from which they are taken for an id; fewer differ by chance."""
MIN_NUMBERED = 5
"""Number of rows from which values that count up are taken for row numbers."""
NEARLY_ALL = 0.95
"""Share of the rows that have a text of their own in a column of ids or names."""
REPEATS = 3.0
"""Number of repeated values to expect from which their absence is no chance."""


@dataclass(frozen=True)
class Found:
    """A column as it was read."""

    column: Column
    rows: int
    clues: NumberClues | None
    """Observations about a column of numbers."""
    declared: ColumnKind | None
    """Kind of the column that the user named."""

    @property
    def known(self) -> int:
        """Number of rows with a value."""
        return self.rows - self.column.missing


def column_warnings(
    columns: Sequence[Column],
    clues: Mapping[str, NumberClues],
    rows: int,
    declared: Mapping[str, ColumnKind],
    known: Iterable[DataWarning] = (),
) -> list[DataWarning]:
    """Return the warnings about columns of `rows` rows, some with `clues`, or `declared` to be of
    a kind. Of texts that look like numbers, `known` warnings say enough."""
    told = {warning.column for warning in known if warning.kind == "numbers_as_text"}
    return [
        warning
        for column in columns
        if column.name not in told
        for warning in _about(
            Found(column, rows, clues.get(column.name), declared.get(column.name))
        )
    ]


def _about(found: Found) -> Iterator[DataWarning]:
    """Yield at most one warning."""
    name = found.column.name
    for kind, find in FINDERS.items():
        if (fault := find(found)) is not None:
            yield DataWarning(column=name, kind=kind, message=f"{quoted(name)} {fault}")
            return


def only_value(column: Column, rows: int) -> str | None:
    """Return the value of a column that has a single one, else None."""
    match column:
        case Numeric(min=float(low), max=high) if low == high:
            return repr(low).removesuffix(".0")
        case Date(min=str(first), max=last) if first == last:
            return first
        case Categorical(categories=[category]):
            return shown(category.value)
        case Boolean(true=true, missing=missing) if missing < rows and true in (0, rows - missing):
            return "true" if true else "false"
    return None


def _empty(found: Found) -> str | None:
    return None if found.known else "has no value in any row; nothing can be learned from it"


def _constant(found: Found) -> str | None:
    value = only_value(found.column, found.rows)
    if value is None:
        return None
    if found.column.missing:
        return f"is {value} or missing in every row; other values have no effect on predictions"
    return f"is {value} in every row; nothing can be learned from it"


def _left_out(found: Found) -> str | None:
    if found.declared is not None or not isinstance(found.column, Text):
        return None
    return (
        f"is text, since it has over {MAX_CATEGORIES:,} different values or one of over "
        f"{MAX_CATEGORY:,} characters; no model learns from it"
    )


def _index(found: Found) -> str | None:
    clues = found.clues
    if clues is None or not clues.counts_up or clues.first not in (0, 1):
        return None
    if found.rows < MIN_NUMBERED:
        return None
    last = clues.first + found.rows - 1
    return (
        f"numbers the rows, from {clues.first:.0f} to {last:.0f}; unless their order means "
        "something, leave it out with ignore, or of a job's features"
    )


def _identifier(found: Found) -> str | None:
    advice = (
        "as an id has; unless it measures something, leave it out with ignore, or of a job's "
        "features"
    )
    match found.column, found.clues:
        case Numeric(whole=True, min=float(low), max=float(high)), NumberClues() as clues:
            # Of so many draws from so many numbers, this many pairs would be equal.
            expected = found.known**2 / (2 * (high - low + 1))
            if expected < REPEATS or not clues.distinct.are_different():
                return None
            return f"has a different whole number in each of {found.known:,} rows, {advice}"
        case Categorical(categories=categories), _:
            different = len(categories)
            if found.known < MIN_IDENTIFIERS or different < NEARLY_ALL * found.known:
                return None
            return f"has {different:,} different values in {found.known:,} rows, {advice}"
    return None


Finder = Callable[[Found], str | None]
FINDERS: dict[Kind, Finder] = {
    "empty": _empty,
    "constant": _constant,
    "left_out": _left_out,
    "index": _index,
    "identifier": _identifier,
}
"""Checks of a column, of which the first that applies gives the warning."""
