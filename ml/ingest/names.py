"""Names of columns and classes, as they may stand in messages, charts and file formats."""

import unicodedata

from ml.errors import Invalid
from ml.ingest.schema import MAX_COLUMNS

MAX_NAME = 200
MAX_SHOWN = 40
INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that names may not have: control and format characters, lone surrogates, and
separators of lines and paragraphs."""
JOINERS = {"\u200c", "\u200d"}
"""Format characters that words of some languages need."""


def shown(value: object, longest: int = MAX_SHOWN) -> str:
    """Return a value as shown in messages, shortened to `longest` characters."""
    text = repr(value)
    return text if len(text) <= longest else f"{text[:longest]}..."


def check_name(name: str, subject: str) -> None:
    """Check a name; `subject` tells whose it is: "the name of column 3".

    Raises:
        Invalid: it is empty or too long, or contains an invisible character.
    """
    if not name.strip():
        raise Invalid(f"{subject} is empty")
    if len(name) > MAX_NAME:
        raise Invalid(
            f"{subject}, {shown(name)}, has {len(name):,} characters; at most {MAX_NAME} are "
            "allowed"
        )
    if bad := _invisible(name):
        kind = unicodedata.name(bad, "a control character")
        raise Invalid(
            f"{subject}, {shown(name)}, contains the invisible character U+{ord(bad):04X} "
            f"({kind.lower()}); remove it"
        )


def check_count(columns: int) -> None:
    """Check that a table has not too many columns.

    Raises:
        Invalid: it has.
    """
    if columns > MAX_COLUMNS:
        raise Invalid(f"has {columns:,} columns; at most {MAX_COLUMNS:,} are allowed")


def check_names(names: list[str]) -> None:
    """Check the names of columns.

    Raises:
        Invalid: there are none or too many, or a name is repeated or fails `check_name`.
    """
    if not names:
        raise Invalid("has no columns")
    check_count(len(names))
    seen: dict[str, int] = {}
    for place, name in enumerate(names, start=1):
        if not name.strip():
            raise Invalid(f"column {place} has no name; give it one in the first row")
        check_name(name, f"the name of column {place}")
        if name in seen:
            raise Invalid(f"columns {seen[name]} and {place} are both named {name!r}; rename one")
        seen[name] = place


def _invisible(text: str) -> str | None:
    """Return the first character of `text` that names may not have."""
    for character in text:
        if unicodedata.category(character) in INVISIBLE and character not in JOINERS:
            return character
    return None
