"""Booleans: the texts for true and false."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

TRUTHS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1", "1.0"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0", "0.0"), False),
}
"""Texts of booleans, in lower case, for columns that are boolean."""


def read_booleans(texts: Any) -> Any:
    """Return an array of trimmed texts as booleans, null for other texts."""
    known = pa.array(list(TRUTHS))
    return pc.take(
        pa.array(list(TRUTHS.values())), pc.index_in(pc.utf8_lower(texts), value_set=known)
    )


def boolean_in(text: str) -> bool | None:
    """Return the boolean that a trimmed text stands for, None if it is none."""
    return TRUTHS.get(text.lower())
