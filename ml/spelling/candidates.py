"""Spellings that a column may have, going by a sample of texts that are no plain numbers."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ml.spelling.numbers import (
    APOSTROPHE,
    BOUND,
    MINUS,
    NUMBER,
    SPACES,
    DecimalMark,
    Notation,
    ThousandsMark,
    are_numbers,
)
from ml.spelling.spelling import Spelling

MARKS: tuple[tuple[DecimalMark, ThousandsMark], ...] = (
    (".", ","),
    (",", "."),
    (".", " "),
    (",", " "),
    (".", "'"),
    (",", "'"),
)
"""Decimal and thousands marks, the most usual first. Numbers without a thousands mark have one of
these notations too."""
MEASURES = """
% ‰ ° °C °F g kg mg lb lbs oz km m cm mm mi ft in km/h mph l ml s ms min h W kW kWh V A kB MB GB TB
"""
CURRENCIES = """
US$ R$ A$ C$ HK$ NT$ kr zł Kč Ft lei Fr AED ARS AUD BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD
HUF IDR ILS INR JPY KRW MXN MYR NGN NOK NZD PHP PKR PLN RMB RON RUB SAR SEK SGD THB TRY TWD UAH USD
VND ZAR
"""
LEADING = frozenset(CURRENCIES.split())
"""Texts before a number that leave no doubt that it is one, besides signs of currencies."""
UNITS = LEADING | frozenset(MEASURES.split())
"""The same, before or after a number."""
PADDED = "0[0-9]"
TRUE_OR_FALSE = ("true", "false")
HEAD = 32
"""Texts that are looked at before any other."""
_LOOSE = re.compile(
    rf"(?:{BOUND}[{SPACES}]*)?\(?[+{MINUS}-]?"
    rf"(?P<before>[^\d\s.,'{APOSTROPHE}()<>=≤≥~≈+{MINUS}-]{{1,4}})?[{SPACES}]*[+{MINUS}-]?"
    rf"[.,]?[0-9][0-9.,'{APOSTROPHE}{SPACES}]*(?:[eE][+-]?[0-9]+)?"
    rf"(?P<after>[^\d\s.,'{APOSTROPHE}()<>=≤≥~≈]{{1,12}})?\)?"
)


@dataclass(frozen=True)
class Candidate:
    """A spelling that a column may have, and the function that marks texts written in it."""

    spelling: Spelling
    matches: Callable[[Any], Any]


def matching(expression: str) -> Callable[[Any], Any]:
    """Return the function that marks the texts of an array that a regular expression finds."""
    return lambda texts: pc.match_substring_regex(texts, expression)


CODES = Candidate(Spelling(kind="categorical"), matching("^[0-9]+$"))
"""Digits, some of them with leading zeros: codes rather than quantities."""
IDENTITIES = Candidate(Spelling(kind="categorical"), matching("^[+-]?[0-9]+$"))
"""Whole numbers, some of them too large for float64."""
TRUTHS = Candidate(
    Spelling(kind="boolean"),
    lambda texts: pc.is_in(pc.utf8_lower(texts), value_set=pa.array(TRUE_OR_FALSE)),
)
"""The two texts that make a column boolean by themselves."""
PADDED_NUMBERS = Candidate(Spelling(kind="numeric"), matching(NUMBER))
"""Numbers as programs write them, some of them with leading zeros."""


def of_numbers(notation: Notation, needs_unit: bool) -> Candidate:
    """Return the candidate for numbers in a notation, all with its unit if that is needed."""
    spelling = Spelling(kind="numeric", notation=notation)

    def matches(texts: Any) -> Any:
        found = are_numbers(texts, notation)
        if not (needs_unit and notation.unit):
            return found
        return pc.and_(found, pc.match_substring(texts, notation.unit))

    return Candidate(spelling, matches)


def candidates(
    sample: Sequence[str],
    marks: Iterable[tuple[DecimalMark, ThousandsMark]] = MARKS,
    needs_unit: bool = True,
) -> list[Candidate]:
    """Return the spellings that may suit a column in which `sample` are texts that are no plain
    numbers; none if it looks like words."""
    found = [CODES, PADDED_NUMBERS] if any(re.match(PADDED, text) for text in sample) else []
    head = sample[:HEAD]
    if head and head[0].lower() in TRUE_OR_FALSE:
        found.append(TRUTHS)
    units = [unit for text in head if (unit := _unit(text)) is not None]
    if not units or 2 * len(units) < len(head):
        return found
    [(unit, _)] = Counter(units).most_common(1)
    notations = (
        Notation(decimal=decimal, thousands=thousands, unit=unit, parentheses=True, bounds=True)
        for decimal, thousands in marks
    )
    return [*found, *(of_numbers(notation, needs_unit) for notation in notations)]


def _unit(text: str) -> str | None:
    """Return the text beside a number, empty if there is none; None for a text that is no number.
    Before a number, only currencies are taken for one: Q1, g3 and A4 are none."""
    match = _LOOSE.fullmatch(text)
    if match is None or not is_known(match["before"] or "", LEADING):
        return None
    return match["before"] or match["after"] or ""


def is_known(unit: str, units: frozenset[str] = UNITS) -> bool:
    """Return whether a text beside numbers leaves no doubt that they are numbers: it is one of
    `units`, or signs of currencies."""
    return not unit or unit in units or all(unicodedata.category(c) == "Sc" for c in unit)
