"""Values of a column of a file: an array of texts, or of values with a type."""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ml.spelling import dates
from ml.spelling.booleans import read_booleans
from ml.spelling.categories import text_of
from ml.spelling.date_formats import FORMATS
from ml.spelling.gaps import Gaps
from ml.spelling.numbers import read_numbers
from ml.spelling.spelling import ColumnKind, Spelling

TYPES: Mapping[ColumnKind, Any] = {
    "numeric": pa.float64(),
    "boolean": pa.bool_(),
    "date": dates.TYPE,
    "categorical": pa.string(),
    "text": pa.string(),
}
"""Arrow type of the stored values of each kind."""
TextReader = Callable[[Any, Spelling], Any]

READERS: Mapping[ColumnKind, TextReader] = {
    "numeric": lambda texts, spelling: read_numbers(texts, spelling.notation),
    "boolean": lambda texts, _: read_booleans(texts),
    "date": lambda texts, spelling: dates.instants(texts, FORMATS[spelling.date]),
    "categorical": lambda texts, _: texts,
    "text": lambda texts, _: texts,
}
"""Functions from trimmed texts to values, null for texts that are none."""


def read_column(values: Any, spelling: Spelling, gaps: Gaps) -> Any:
    """Return an array as the type of the kind of `spelling`, null where a value is a gap or cannot
    be read.

    Texts must be `gaps.trimmed` already. The caller compares the nulls of both arrays: a value that
    is not null and not a gap, but became null, is none of the column's kind.
    """
    if pa.types.is_string(values.type):
        found = READERS[spelling.kind](values, spelling)
        return gaps.without(found) if spelling.kind == "numeric" else found
    if spelling.kind == "numeric":
        whole = pa.types.is_integer(values.type)
        numbers = values if whole else pc.cast(values, pa.float64(), safe=False)
        return pc.cast(gaps.without(numbers), pa.float64(), safe=False)
    if spelling.kind == "date" and pa.types.is_temporal(values.type):
        return dates.from_timestamps(values)
    if values.type == TYPES[spelling.kind]:
        return values
    return READERS[spelling.kind](gaps.trimmed(as_texts(values)), spelling)


def unreadable(values: Any, found: Any, spelling: Spelling, gaps: Gaps) -> int | None:
    """Return the index of the first of `values` that `read_column`, which returned `found`, could
    not read; None if all that became null are gaps."""
    lost = pc.and_(pc.is_valid(values), pc.is_null(found))
    texts = values.filter(lost)
    if not pa.types.is_string(texts.type):
        if spelling.kind == "numeric":
            return None
        if pa.types.is_temporal(values.type):
            place = pc.index(lost, True).as_py()
            return None if place < 0 else place
        texts = gaps.trimmed(as_texts(texts))
    is_read = pc.is_valid(READERS[spelling.kind](texts, spelling))
    is_bad = pc.and_(pc.is_valid(texts), pc.invert(is_read))
    place = pc.index(is_bad, True).as_py()
    if place < 0:
        return None
    index: int = pc.indices_nonzero(lost)[place].as_py()
    return index


def as_texts(values: Any) -> Any:
    """Return numbers, booleans and dates as texts: 3 for 3.0, true for True, null for NaN, dates in
    ISO 8601."""
    if pa.types.is_temporal(values.type):
        return dates.iso_texts(dates.from_timestamps(values))
    if pa.types.is_boolean(values.type):
        return pc.if_else(values, "true", "false")
    if pa.types.is_integer(values.type):
        return pc.cast(values, pa.string())
    numbers = Gaps.of(()).without(pc.cast(values, pa.float64(), safe=False)).to_pylist()
    return pa.array([None if n is None else text_of(n) for n in numbers], pa.string())
