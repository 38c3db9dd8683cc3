"""The spelling of each column of a file of texts, from all of its values."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ml.errors import Invalid
from ml.spelling.column_guess import ColumnGuess
from ml.spelling.date_guess import is_day_first
from ml.spelling.hints import Finding, Hints
from ml.spelling.spelling import Spelling

Batches = Callable[[], Iterable[Sequence[Any]]]
"""Function that reads a file again: batches of rows, for each column an array of trimmed texts."""


class Guesses(NamedTuple):
    """The spelling of each column, and what there is to say about them."""

    spellings: dict[str, Spelling]
    findings: list[Finding]


def guess_spellings(
    names: Sequence[str], batches: Batches, first_row: int, hints: Hints
) -> Guesses:
    """Return the spellings of the columns `names` of the texts that `batches` yields.

    The texts are read once; and again, in part, where a column begins plainly and turns out not to
    be.

    Raises:
        Invalid: most values of a column are numbers, but not all; there are no rows.
    """
    guesses = [ColumnGuess(name, hints) for name in names]
    row = first_row
    for batch in batches():
        for guess, texts in zip(guesses, batch, strict=True):
            guess.see(texts, row)
        row += len(batch[0])
    if row == first_row:
        raise Invalid("has no rows below its header")
    has_comma = any(guess.has_decimal_comma for guess in guesses)
    has_point = any(guess.has_decimal_point for guess in guesses)
    if has_comma and not has_point:
        for guess in guesses:
            guess.doubt_points()
    _look_again(guesses, batches, first_row)
    comma = (hints.decimal_comma or has_comma) and not has_point
    day_first = is_day_first(guess.dates for guess in guesses)
    found = [guess.conclude(comma, day_first) for guess in guesses]
    return Guesses(
        {guess.name: spelling for guess, (spelling, _) in zip(guesses, found, strict=True)},
        [finding for _, findings in found for finding in findings],
    )


def _look_again(guesses: Sequence[ColumnGuess], batches: Batches, first_row: int) -> None:
    """Read the beginning of the file again for columns whose first texts told too little."""
    if not any(guess.is_late(0) for guess in guesses):
        return
    row = first_row
    for number, batch in enumerate(batches()):
        if not any(guess.is_late(number) for guess in guesses):
            break
        for guess, texts in zip(guesses, batch, strict=True):
            guess.look_again(texts, number, row)
        row += len(batch[0])
