"""Texts that look like numbers although they are read as categories."""

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ml.spelling.candidates import candidates
from ml.spelling.numbers import are_numbers

NEARLY_ALL = 0.9
"""Share of texts that must look like numbers."""
CODE = "^(?:[0-9]+|0[0-9].*)$"
"""Texts that look like codes as much as like numbers."""


class Likeness(NamedTuple):
    """Texts, nearly all of which look like numbers."""

    hits: int
    """Number of those that do."""
    example: str
    """One of them, if possible one that is not written as programs write numbers."""


def like_numbers(texts: Sequence[str]) -> Likeness | None:
    """Return how nearly all `texts` look like numbers of one notation, with or without a unit; None
    if they do not, or look like codes: `0123`, or whole numbers without a sign."""
    array = pa.array(texts, pa.string())
    if pc.all(pc.match_substring_regex(array, CODE)).as_py():
        return None
    is_plain = are_numbers(array)
    odd = array.filter(pc.invert(is_plain)).to_pylist()
    masks = [
        candidate.matches(array)
        for candidate in candidates(odd, needs_unit=False)
        if candidate.spelling.kind == "numeric"
    ]
    best = max((is_plain, *masks), key=lambda mask: pc.sum(mask).as_py() or 0)
    count = pc.sum(best).as_py() or 0
    if not count or count < NEARLY_ALL * len(texts):
        return None
    found = array.filter(best).to_pylist()
    unusual = array.filter(pc.and_(best, pc.invert(is_plain))).to_pylist()
    return Likeness(count, (unusual or found)[0])
