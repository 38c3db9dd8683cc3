"""Mathematical notation that Python lacks: `3x` for `3*x`, and signs such as `≤`."""

import keyword
import re
from dataclasses import dataclass

from ml.expressions.operations import FUNCTIONS

SIGNS = {
    "×": "*",  # noqa: RUF001
    "·": "*",
    "⋅": "*",
    "÷": "/",
    "−": "-",  # noqa: RUF001
    "²": "**2",
    "³": "**3",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
}
"""Signs of mathematics, and what Python writes for them."""
TOKEN = re.compile(
    rf"""(?P<sign>[{"".join(SIGNS)}])
    | (?P<number>(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?)
    | (?P<name>[^\W\d{"".join(SIGNS)}][^\W{"".join(SIGNS)}]*)
    | (?P<open>\() | (?P<close>\)) | (?P<other>\S)""",
    re.VERBOSE,
)
FACTORS = {
    ("number", "name"),
    ("number", "open"),
    ("close", "name"),
    ("close", "number"),
    ("close", "open"),
    ("name", "name"),
    ("name", "number"),
}
"""Tokens that mathematics multiplies if they stand side by side. Of two numbers, a comma may be
missing; a name before a parenthesis is a function."""


@dataclass(frozen=True)
class Correction:
    """A replacement for the first part of a text that Python cannot parse."""

    column: int
    """Start of the part, counted from 0."""
    written: str
    """The replacement, such as `3*x`."""


def in_python(text: str) -> tuple[str, Correction | None]:
    """Return `text` in Python's notation, and the first part that differs, if any."""
    parts: list[str] = []
    first: Correction | None = None
    before: re.Match[str] | None = None
    for token in TOKEN.finditer(text):
        this = token.group()
        parts.append(text[before.end() if before else 0 : token.start()])
        if token.lastgroup == "sign":
            first = first or Correction(token.start(), f"{SIGNS[this]} for {this}")
        elif before and _multiplies(before, token):
            first = first or Correction(before.start(), _product(before, token))
            parts.append("*")
        parts.append(SIGNS.get(this, this))
        before = token
    return "".join(parts), first


def _product(left: re.Match[str], right: re.Match[str]) -> str:
    one = "(…)" if left.lastgroup == "close" else left.group()
    other = "(…)" if right.lastgroup == "open" else right.group()
    return f"{one}({other})" if one in FUNCTIONS else f"{one}*{other}"


def _multiplies(left: re.Match[str], right: re.Match[str]) -> bool:
    words = (match.group() for match in (left, right) if match.lastgroup == "name")
    return (left.lastgroup, right.lastgroup) in FACTORS and not any(map(keyword.iskeyword, words))
