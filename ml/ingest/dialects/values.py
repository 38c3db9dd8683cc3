"""The looks of values, to tell names from data."""

import re
from itertools import pairwise

NUMBER = re.compile(
    r"[-+(<>~]{0,2}\s?[$€£¥]?\s?(?:\d[\d.,' ]*|[.,]\d+)(?:[eE][-+]?\d+)?\s?[%€$£¥]?\)?"
)
"""Numbers in any spelling."""
GAPS = frozenset(("", "NA", "N/A", "NaN", "nan", "null", "None", "?", "-", "."))
"""Usual texts of a gap, which say nothing about their column."""


def is_number(text: str) -> bool:
    """Whether `text` looks like a number."""
    return NUMBER.fullmatch(text) is not None


def is_gap(text: str) -> bool:
    """Whether `text` says nothing."""
    return text in GAPS


def counts_up(texts: list[str]) -> bool:
    """Whether `texts` are consecutive whole numbers."""
    if not texts or not all(
        text.isascii() and text.isdecimal() and len(text) < 16 for text in texts
    ):
        return False
    first = int(texts[0])
    return all(int(text) == first + place for place, text in enumerate(texts))


def is_progression(texts: list[str]) -> bool:
    """Whether `texts` are whole numbers with equal steps upwards, like years; two with a step of
    1."""
    if len(texts) < 2 or not all(t.isascii() and t.isdecimal() and len(t) < 16 for t in texts):
        return False
    numbers = [int(text) for text in texts]
    step = numbers[1] - numbers[0]
    if len(texts) == 2:
        return step == 1
    return step > 0 and all(b - a == step for a, b in pairwise(numbers))


def is_year(text: str) -> bool:
    """Whether `text` looks like a year."""
    return text.isascii() and text.isdecimal() and len(text) == 4 and 1500 <= int(text) < 2200


def outline(text: str) -> str:
    """Return `text` with 9 for each run of digits and `a` for each run of letters."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", text))
