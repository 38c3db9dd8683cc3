"""Warnings about data: guesses made about it, and uses of it that its owner may not expect.

A message begins with its subject, for a column its quoted name; says what was found, with figures;
and after a semicolon what follows from it, or the option that changes it. It has no full stop.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from ml.strict import Frozen

MAX_ALIKE = 5
"""Maximum number of columns that warnings of one kind name each; the others share one warning."""
MAX_NAMED = 3
"""Number of columns that a shared warning names."""
MAX_NAME = 60
"""Maximum number of characters of a column's name in a message."""

Kind = Literal[
    "ambiguous_date",
    "class_names",
    "constant",
    "date_format",
    "empty",
    "encoding",
    "few_values",
    "first_frame",
    "form",
    "held_out",
    "identifier",
    "index",
    "large_integers",
    "leading_zeros",
    "left_out",
    "no_target",
    "number_spelling",
    "numbers_as_text",
    "one_hot",
    "pixels",
    "rare_classes",
    "sixteen_bit",
    "skewed",
    "skipped_files",
    "split",
    "unassigned",
    "unit",
    "unseen_class",
]

MEANINGS: dict[Kind, str] = {
    "ambiguous_date": "Day and month of the dates cannot be told apart; an order was assumed.",
    "class_names": "Names of classes differ only by case or by blanks around them.",
    "constant": "A single value, which has no effect on predictions, or a target of one class.",
    "date_format": "Texts were read as dates.",
    "empty": "The column has no value in any row. It has no effect on predictions.",
    "encoding": "The encoding of texts or names was guessed.",
    "few_values": "The target has few different whole numbers, and the task is a regression.",
    "first_frame": "Images have several frames or pages, of which the first was read.",
    "form": "The form of a text file was guessed: its header, delimiter or quotes.",
    "held_out": "Rows are held out for the test although the job does not say so.",
    "identifier": "The column has a different value in nearly every row, as an id or a name has.",
    "index": "The column numbers the rows.",
    "large_integers": "Whole numbers beyond 2^53 were read as categories, or are rounded.",
    "leading_zeros": "Digits with leading zeros were read as codes, not as numbers.",
    "left_out": "No model learns from the column: it is free text, or of a type that is not read.",
    "no_target": "Rows without a target are left out.",
    "number_spelling": "Texts such as `12%` or `1.234,5` were read as numbers.",
    "numbers_as_text": "Texts that look like numbers were not read as numbers.",
    "one_hot": "One-hot labels were read as classes.",
    "pixels": "The pixels of an array were converted to the range from 0 to 255, or are all dark.",
    "rare_classes": "Some classes have fewer than 5 rows.",
    "sixteen_bit": "Images with more than 8 bits per channel were reduced to 8.",
    "skewed": "The target is far more skewed than its logarithm.",
    "skipped_files": "Files of an archive were not read.",
    "split": "The file's own division into splits is used.",
    "unassigned": "Rows without a group or time, by which the job divides them, are left out.",
    "unit": "Durations or times of day were read as numbers of seconds.",
    "unseen_class": "Some classes have no training rows.",
}
"""The kinds of warnings, in alphabetical order, and a sentence about each."""


class DataWarning(Frozen):
    """A warning about the data that a job or a data set uses."""

    column: str | None = Field(
        description="Column that the warning is about; null if it is about none or several."
    )
    kind: Kind = Field(
        description=" ".join(f"`{kind}`: {meaning}" for kind, meaning in MEANINGS.items())
    )
    message: str


def quoted(name: str) -> str:
    """Return the name of a column as it stands in messages."""
    return repr(name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}...")


def listed(names: Sequence[str]) -> str:
    """Return the first of some names, and the number of the others: "'a', 'b', 'c' and 4 more"."""
    first = ", ".join(map(quoted, names[:MAX_NAMED]))
    more = len(names) - MAX_NAMED
    return f"{first} and {more:,} more" if more > 0 else first


def folded(found: Iterable[DataWarning]) -> list[DataWarning]:
    """Return warnings with those of one kind about many columns folded into a shared one, which
    follows the first `MAX_ALIKE`."""
    alike: dict[Kind, list[DataWarning]] = defaultdict(list)
    for warning in found:
        alike[warning.kind].append(warning)
    return [warning for kind, some in alike.items() for warning in _folded(kind, some)]


def _folded(kind: Kind, alike: list[DataWarning]) -> list[DataWarning]:
    if len(alike) <= MAX_ALIKE + 1:
        return alike
    rest = alike[MAX_ALIKE:]
    names = [warning.column for warning in rest if warning.column is not None]
    message = (
        f"the same holds for {len(rest):,} more columns: {listed(names)}"
        if names
        else f"there are {len(rest):,} more warnings of this kind"
    )
    return [*alike[:MAX_ALIKE], DataWarning(column=None, kind=kind, message=message)]


def merged(earlier: Iterable[DataWarning], later: Sequence[DataWarning]) -> list[DataWarning]:
    """Return the warnings of both, without those of `earlier` that `later` has again: of the same
    kind about the same column."""
    repeated = {(warning.column, warning.kind) for warning in later}
    kept = [one for one in earlier if (one.column, one.kind) not in repeated]
    return [*kept, *later]
