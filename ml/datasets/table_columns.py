"""Columns of an uploaded table in Arrow's form, as numbers and as names."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from torch import Tensor

from ml.errors import Invalid
from ml.inputs.rows import FLOAT32_MAX
from ml.spelling import as_texts, text_of
from ml.spelling.dates import days_of


def with_values(table: Any, names: Sequence[str]) -> Any:
    """Return the rows of an Arrow table that have a value in each of these columns."""
    return table.filter(reduce(pc.and_, (pc.is_valid(table[name]) for name in names)))


def names(values: Any, written: Mapping[str, str]) -> list[str]:
    """Return the names of values as categories or classes."""
    if pa.types.is_temporal(values.type):
        dates: list[str] = as_texts(values).to_pylist()
        return dates
    texts = [text_of(value) for value in values.to_pylist()]
    return [written.get(text, text) for text in texts]


def numbers(name: str, column: Any) -> NDArray[np.float64]:
    """Return the values of the column `name` as a float64 array, NaN where one is missing: dates as
    days since 1970.

    Raises:
        Invalid: a number is too large for float32.
    """
    if pa.types.is_temporal(column.type):
        return days_of(column)
    values = np.array(pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False))
    if (too_large := np.abs(values) > FLOAT32_MAX).any():
        largest = values[np.argmax(too_large)]
        raise Invalid(f"the column {name!r} has {largest:g}, which is too large for float32")
    return values


def different(codes: Tensor) -> list[int]:
    """Return the different codes of `codes`, ascending; NaN is none."""
    known = codes[~codes.isnan()].numpy()
    return [int(code) for code in np.unique(known)]
