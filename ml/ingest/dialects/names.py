"""Names of columns as a header gives them: made whole, each its own."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ml.ingest.dialects.dialect import guess
from ml.ingest.warning import DataWarning

MAX_WARNINGS = 20


@dataclass(frozen=True)
class Naming:
    """Names of columns, and the guesses behind them."""

    names: tuple[str, ...]
    unnamed: frozenset[str]
    """Those that are not from the file."""
    warnings: tuple[DataWarning, ...]


def numbered(count: int) -> tuple[str, ...]:
    """Return names for the columns of a file that has none."""
    return tuple(f"c{place}" for place in range(1, count + 1))


def complete(given: Sequence[str]) -> Naming:
    """Return a name for each column: a column without one is called by its place, and one of a name
    that a column before it has by that name and a number."""
    taken, tried = set(given), Counter[str]()
    names, used = list[str](), set[str]()
    unnamed, repeated = [], []
    for place, name in enumerate(given, start=1):
        if not name:
            names.append(_free(f"c{place}", taken, tried))
            unnamed.append(names[-1])
        elif name in used:
            names.append(_free(name, taken, tried))
            repeated.append(
                guess(
                    f"several columns are named {name!r}; this one is read as {names[-1]!r}",
                    names[-1],
                )
            )
        else:
            names.append(name)
        used.add(name)
    return Naming(tuple(names), frozenset(unnamed), tuple(_few(repeated)))


def _free(name: str, taken: set[str], tried: Counter[str]) -> str:
    """Return `name` if it is not taken, else with the lowest number that makes it free; `tried` has
    the numbers that were tried before."""
    free = name
    while free in taken:
        tried[name] += 1
        free = f"{name}_{tried[name] + 1}"
    taken.add(free)
    return free


def _few(warnings: list[DataWarning]) -> list[DataWarning]:
    if len(warnings) <= MAX_WARNINGS:
        return warnings
    more = f"{len(warnings) - MAX_WARNINGS:,} more names are repeated"
    return [*warnings[:MAX_WARNINGS], guess(more)]
