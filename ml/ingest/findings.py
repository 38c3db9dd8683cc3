"""Warnings about the columns of a table, found while it is read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ml.ingest.clues import BooleanClues, Clues, NumberClues, TextClues
from ml.ingest.names import shown
from ml.ingest.number_like import Spelling, likeness
from ml.ingest.options import ColumnKind
from ml.ingest.schema import (
    MAX_CATEGORIES,
    MAX_CATEGORY,
    Boolean,
    Categorical,
    Column,
    Numeric,
    Text,
)
from ml.ingest.warning import DataWarning, Kind, quoted

MIN_IDENTIFIERS = 10
"""Number of different texts from which they are taken for an id; fewer differ by chance."""
NEARLY_ALL = 0.95
"""Share of the rows that have a text of their own in a column of ids or names."""
REPEATS = 3.0
"""Number of repeated values to expect from which their absence is no chance."""

ADVICE: dict[Spelling, str] = {
    "plain": "correct the others, such as {odd}, or list them in missing",
    "decimal comma": "if they are, upload it with decimal=,",
    "thousands": "if they are, upload it with thousands set to what is between their digits",
    "percent": "if they are, upload it with numeric={name}",
    "currency": "if they are, upload it with numeric={name}",
    "bound": "if they are, upload it with numeric={name}",
    "parentheses": "if they are, upload it with numeric={name}",
    "unit": "if they are, remove the unit",
}


@dataclass(frozen=True)
class Found:
    """A column as it was read."""

    column: Column
    rows: int
    clues: Clues
    declared: ColumnKind | None
    """Kind of the column that the user named."""

    @property
    def known(self) -> int:
        """Number of rows with a value."""
        return self.rows - self.column.missing


def clues_for(kind: ColumnKind) -> Clues:
    """Return an observer of a column of this kind."""
    observers: dict[ColumnKind, type[Clues]] = {
        "numeric": NumberClues,
        "boolean": BooleanClues,
        "date": BooleanClues,
    }
    return observers.get(kind, TextClues)()


def findings(
    columns: Sequence[Column],
    clues: Sequence[Clues],
    rows: int,
    declared: Mapping[str, ColumnKind],
) -> list[DataWarning]:
    """Return the warnings about columns of `rows` rows."""
    return [
        DataWarning(column=column.name, kind=kind, message=message)
        for column, seen in zip(columns, clues, strict=True)
        for kind, message in _about(Found(column, rows, seen, declared.get(column.name)))
    ]


def _about(found: Found) -> Iterator[tuple[Kind, str]]:
    """Yield at most one warning of each group."""
    name = quoted(found.column.name)
    for group in GROUPS:
        for kind, find in group.items():
            if (fault := find(found)) is not None:
                yield kind, f"{name} {fault}"
                break


def only_value(column: Column, rows: int) -> str | None:
    """Return the value of a column that has a single one, else None."""
    match column:
        case Numeric(min=float(low), max=high) if low == high:
            return repr(low).removesuffix(".0")
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


def _numbers_as_text(found: Found) -> str | None:
    if found.declared is not None or not isinstance(found.clues, TextClues):
        return None
    return looks_like_numbers(found.column, found.clues.sample)


def looks_like_numbers(column: Column, sample: Sequence[str] = ()) -> str | None:
    """Return how a column looks like numbers that it is not read as, and the remedy; None if it
    does not. `sample` are some of its texts, where the column does not list them."""
    if isinstance(column, Categorical):
        sample = [category.value for category in column.categories]
    like = likeness(sample)
    if like is None:
        return None
    shares = "its values" if like.like == like.total else f"{like.like} of {like.total} values"
    read = "as text" if isinstance(column, Text) else "as categories"
    advice = ADVICE[like.spelling].format(name=column.name, odd=shown(like.odd))
    if like.spelling == "plain" and like.odd is None:
        advice = f"if they are, upload it with numeric={column.name}"
    return (
        f"is read {read}, but {shares} look like numbers, such as {shown(like.example)}; {advice}"
    )


def _left_out(found: Found) -> str | None:
    if found.declared is not None or not isinstance(found.column, Text):
        return None
    return (
        f"is free text, with over {MAX_CATEGORIES:,} different values or one of over "
        f"{MAX_CATEGORY:,} characters; no model learns from it"
    )


def _index(found: Found) -> str | None:
    clues = found.clues
    if not isinstance(clues, NumberClues) or not clues.counts_up or found.rows < 2:
        return None
    if clues.first not in (0, 1):
        return None
    last = clues.first + found.rows - 1
    return (
        f"numbers the rows, from {clues.first:.0f} to {last:.0f}; leave it out of the features "
        "unless their order means something"
    )


def _identifier(found: Found) -> str | None:
    advice = "as an id has; leave it out of the features unless it measures something"
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


def _large_integers(found: Found) -> str | None:
    if not isinstance(found.clues, NumberClues) or found.clues.large is None:
        return None
    return (
        f"has whole numbers beyond 2^53, such as {found.clues.large}, which are rounded; if they "
        f"are ids, set categorical={found.column.name} or leave them out"
    )


def _leading_zeros(found: Found) -> str | None:
    clues = found.clues
    if found.declared is not None or not isinstance(clues, NumberClues):
        return None
    if clues.leading_zero is None:
        return None
    return (
        f"has leading zeros, as in {clues.leading_zero!r}, and is read as numbers, without them; "
        f"if they are codes, set categorical={found.column.name}"
    )


Finder = Callable[[Found], str | None]
GROUPS: tuple[dict[Kind, Finder], ...] = (
    {
        "empty": _empty,
        "constant": _constant,
        "numbers_as_text": _numbers_as_text,
        "left_out": _left_out,
        "index": _index,
        "identifier": _identifier,
    },
    {"large_integers": _large_integers, "leading_zeros": _leading_zeros},
)
"""What can be found about a column. Of each group, the first that applies is said."""
