"""The words for training, validation and test: in names of folders, arrays and columns, and in the
values of a column that assigns rows to splits."""

import re
from typing import Final

from ml.ingest.schema import Part

SEPARATORS: Final = "_-. "
_WORDS: Final[dict[Part, str]] = {
    "train": "train training trn",
    "validation": "validation validate validating valid val dev devel development tune tuning",
    "test": "test testing tst hold-out held-out",
}
"""Words for each split. A hyphen may be written as any separator, or left out."""
_BEFORE: Final = "(?:is|in|for|used?(?:in|for|as)?|seg|my|all|images?|imgs?|data|set)?"
_AFTER: Final = (
    "(?:set|split|part|partition|data|dataset|rows?|samples?|subset|flag|images?|imgs?|folder)*"
)
_WORD: Final = "|".join(
    f"(?P<{part}>{'|'.join(sorted(words.split(), key=len, reverse=True))})"
    for part, words in _WORDS.items()
).replace("-", f"[{re.escape(SEPARATORS)}]?")
_NAMED: Final = re.compile(f"{_BEFORE}(?:{_WORD}){_AFTER}")
_FIRST: Final = re.compile(f"(?:{_WORD})(?P<rest>.+)", re.IGNORECASE | re.DOTALL)
_LAST: Final = re.compile(f"(?P<rest>.+?)(?:{_WORD})", re.IGNORECASE | re.DOTALL)


def part_of(text: str) -> Part | None:
    """Return the split that a text names, in any case, with or without digits, punctuation and a
    word such as "set": `Train`, `train2017`, `test_set`, `is_holdout`."""
    return _part(_NAMED.fullmatch(re.sub(r"[\W\d_]+", "", text).casefold()))


def parts_within(name: str) -> list[tuple[str, Part]]:
    """Return the ways to read a name as one of a split: `x_train`, `trainX`. Each is the rest of
    the name, with the separators around it, and the split."""
    found = [pattern.fullmatch(name) for pattern in (_FIRST, _LAST)]
    return [(match["rest"], part) for match in found if match and (part := _part(match))]


def _part(match: re.Match[str] | None) -> Part | None:
    return next((part for part in _WORDS if match[part]), None) if match else None
