"""Texts that look like numbers, but are not written as a reader of numbers takes them."""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Spelling = Literal[
    "plain", "decimal comma", "thousands", "percent", "currency", "bound", "parentheses", "unit"
]

SIGN = "[+\\-\u2212\u2013]?"
PLAIN = rf"{SIGN}(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
SPACE = "[ \u00a0\u2009\u202f]"
COMMA = rf"{SIGN}(?:[0-9]{{1,3}}(?:[.'\u2019 \u00a0\u2009\u202f][0-9]{{3}})+|[0-9]*),[0-9]+"
THOUSANDS = rf"{SIGN}[0-9]{{1,3}}(?:[.,'_\u2019 \u00a0\u2009\u202f][0-9]{{3}})+(?:[.,][0-9]+)?"
ANY = rf"(?:{THOUSANDS}|{COMMA}|{PLAIN})"
MONEY = (
    r"(?:[$€£¥₹₽₩₺₫₪₴₦฿]|(?i:usd|eur|gbp|chf|jpy|cny|cad|aud|inr|r\$|us\$|kr\.?|zł|fr\.?|rs\.?))"
)

SPELLINGS: dict[Spelling, re.Pattern[str]] = {
    "plain": re.compile(PLAIN),
    "thousands": re.compile(THOUSANDS),
    "decimal comma": re.compile(COMMA),
    "percent": re.compile(rf"{ANY}{SPACE}?[%‰\uff05]"),
    "currency": re.compile(
        rf"{SIGN}{MONEY}{SPACE}?{ANY}|{ANY}{SPACE}?{MONEY}|\({MONEY}{SPACE}?{ANY}\)"
    ),
    "bound": re.compile(rf"[<>≤≥~≈±]=?{SPACE}?{ANY}{SPACE}?%?"),
    "parentheses": re.compile(rf"\({ANY}\)|{ANY}-"),
}
"""How numbers are written, in the order in which the spellings are tried."""
WITH_UNIT = re.compile(rf"{ANY}{SPACE}?([^\W\d_][^\d\s]{{0,9}}|[°µ\"'\u2032\u2033][^\d\s]{{0,9}})")
MOSTLY = 0.9
"""Share of the texts that must look like numbers."""


@dataclass(frozen=True)
class Likeness:
    """How some texts look like numbers."""

    like: int
    """Number of texts that do."""
    total: int
    spelling: Spelling
    """The most frequent spelling but `plain`; `plain` where there is no other."""
    example: str
    """A text of that spelling."""
    odd: str | None
    """A text that does not look like a number."""


def likeness(texts: Collection[str]) -> Likeness | None:
    """Return how `texts` look like numbers, or None if fewer than `MOSTLY` of them do."""
    spelled = {text: _spelling(text) for text in texts}
    with_unit = _with_one_unit([text for text, spelling in spelled.items() if spelling is None])
    if len(with_unit) >= MOSTLY * len(texts):
        spelled |= dict.fromkeys(with_unit, "unit")
    found = Counter(spelling for spelling in spelled.values() if spelling is not None)
    like = found.total()
    if not like or like < MOSTLY * len(spelled):
        return None
    spelling = max(found, key=lambda one: (one != "plain", found[one]))
    return Likeness(
        like,
        len(spelled),
        spelling,
        example=next(text for text, one in spelled.items() if one == spelling),
        odd=next((text for text, one in spelled.items() if one is None), None),
    )


def _spelling(text: str) -> Spelling | None:
    for spelling, pattern in SPELLINGS.items():
        if pattern.fullmatch(text):
            return spelling
    return None


def _with_one_unit(texts: Collection[str]) -> list[str]:
    """Return the texts that are numbers followed by the most frequent unit."""
    units = {text: match[1] for text in texts if (match := WITH_UNIT.fullmatch(text))}
    if not units:
        return []
    [(most, _)] = Counter(units.values()).most_common(1)
    return [text for text, unit in units.items() if unit == most]
