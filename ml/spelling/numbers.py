"""Numbers as people write them: decimal and thousands marks, units, negatives, bounds."""

import re
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ml.strict import Frozen

DecimalMark = Literal[".", ","]
ThousandsMark = Literal["", ",", ".", " ", "'"]

NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
"""Numbers as programs write them."""
UNPADDED = r"^[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
"""The same without leading zeros: a text like 01234 may be a code."""
_PLAIN = re.compile(NUMBER)
SPACES = " \u00a0\u2009\u202f"
MINUS = "\u2212"
APOSTROPHE = "\u2019"
BOUND = "(?:[<>]=?|[≤≥~≈])"
EXACT = 2**53
"""Magnitude up to which float64 holds every whole number."""
MAX_NUMBER = 100
"""Maximum number of characters of a number that is not written plainly."""


class Notation(Frozen):
    """How the numbers of a column are written."""

    decimal: DecimalMark = "."
    thousands: ThousandsMark = ""
    """Mark between groups of three digits; a blank also stands for other spaces, such as the
    narrow no-break space."""
    unit: str = ""
    """Text before or after a number, such as % or €. It does not change the number."""
    parentheses: bool = False
    """Whether a number in parentheses is negative."""
    bounds: bool = False
    """Whether a number may follow a sign such as < or ~; it is read as that number."""


PLAIN = Notation()
"""Numbers as programs write them: `-1234.5`, `1e-3`."""


class _Grammar(NamedTuple):
    """Regular expressions that RE2 and Python's `re` read alike."""

    whole: str
    """Matches a text that is a number of the notation."""
    ornaments: str
    """Matches parts that do not belong to the number itself."""


@lru_cache(maxsize=256)
def _grammar(notation: Notation) -> _Grammar:
    sign, space, decimal = f"[+{MINUS}-]?", f"[{SPACES}]", re.escape(notation.decimal)
    digits = "[0-9]+"
    if notation.thousands:
        mark = _mark(notation.thousands)
        size = "2,3" if notation.thousands == "," else "3"  # 12,34,567 in India
        digits = f"(?:[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{{size}}})*{mark}[0-9]{{3}}|[0-9]+)"
    number = f"(?:{digits}(?:{decimal}[0-9]*)?|{decimal}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    unit = re.escape(notation.unit)
    before = f"(?:{unit}{space}*)?" if unit else ""
    after = f"(?:{space}*{unit})?" if unit else ""
    signed = f"{sign}{space}*{before}{sign}{number}{after}"
    if notation.parentheses:
        bare = f"{before}{number}{after}"
        signed = rf"(?:{signed}|\({space}*{bare}{space}*\)|{before}\({space}*{number}{space}*\))"
    bound = f"(?:{BOUND}{space}*)?" if notation.bounds else ""
    ornaments = [f"[{SPACES}()<>=≤≥~≈+]"]
    if unit:
        ornaments.insert(0, unit)
    if notation.thousands.strip():
        ornaments.append(_mark(notation.thousands))
    return _Grammar(f"^{bound}{signed}$", "|".join(ornaments))


def _mark(thousands: ThousandsMark) -> str:
    if thousands == " ":
        return f"[{SPACES}]"
    return f"['{APOSTROPHE}]" if thousands == "'" else re.escape(thousands)


def are_numbers(texts: Any, notation: Notation = PLAIN) -> Any:
    """Return which texts of an array are numbers of a notation; null for null."""
    if notation == PLAIN:
        return pc.match_substring_regex(texts, NUMBER)
    is_short = pc.less_equal(pc.utf8_length(texts), MAX_NUMBER)
    return pc.and_(is_short, pc.match_substring_regex(texts, _grammar(notation).whole))


def read_numbers(texts: Any, notation: Notation = PLAIN) -> Any:
    """Return an array of trimmed texts as float64, null for texts that are no numbers of the
    notation. A number that float64 cannot represent is infinite."""
    is_number = are_numbers(texts, notation)
    if not pc.all(is_number, min_count=0).as_py():
        texts = pc.if_else(is_number, texts, pa.scalar(None, pa.string()))
    if notation == PLAIN:
        return _cast(texts)
    is_negative = pc.match_substring(texts, "(")
    bare = pc.replace_substring_regex(texts, _grammar(notation).ornaments, "")
    bare = pc.replace_substring(pc.replace_substring(bare, MINUS, "-"), notation.decimal, ".")
    if pc.any(is_negative).as_py():
        bare = pc.if_else(is_negative, pc.binary_join_element_wise("-", bare, ""), bare)
    return read_numbers(bare)  # two signs are none


def _cast(texts: Any) -> Any:
    if pc.any(pc.starts_with(texts, "+")).as_py():
        texts = pc.replace_substring_regex(texts, r"^\+", "")
    return pc.cast(texts, pa.float64())


def number_in(text: str, notation: Notation = PLAIN) -> float | None:
    """Return the number that a trimmed text is in a notation, None if it is none; see
    `read_numbers`."""
    if notation == PLAIN:
        return float(text) if _PLAIN.fullmatch(text) else None
    # Python would take long to find that a long text is none.
    if len(text) > MAX_NUMBER or not _compiled(_grammar(notation).whole).fullmatch(text):
        return None
    bare = _compiled(_grammar(notation).ornaments).sub("", text)
    bare = bare.replace(MINUS, "-").replace(notation.decimal, ".")
    return number_in(f"-{bare}" if "(" in text else bare)


@lru_cache(maxsize=256)
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression)
