"""Columns by whose values rows are divided: groups, whose rows stay together, and times."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from ml.datasets.splits import SplitSpec
from ml.errors import Invalid
from ml.ingest.schema import Boolean, Column
from ml.ingest.warning import quoted

ISO = r"^[0-9]{4}(-[0-9]{2}(-[0-9]{2}([T ][0-9]{2}(:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?)?Z?)?)?)?$"
"""Dates and times whose order is that of their texts."""


def check_kind(column: Column, spec: SplitSpec) -> None:
    """Check that a column can divide rows by `spec`.

    Raises:
        Invalid: it is boolean and should be a time; `loc` is within `spec`.
    """
    if spec.time is not None and isinstance(column, Boolean):
        message = f"{quoted(column.name)} is boolean; choose a column of dates or numbers"
        raise Invalid(message, ("time",))


def ranks(column: Any, spec: SplitSpec) -> Tensor:
    """Return the rank of each value of `column` among its different values, from 0, and -1 where it
    is missing: int64 `(rows,)`.

    Raises:
        Invalid: the column should be a time, and has texts that are not dates; `loc` is within
            `spec`.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if spec.time is not None and pa.types.is_string(column.type):
        column = _in_order(column, spec.time)
    if pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.int8())
    found = pc.rank(column, tiebreaker="dense")
    places = found.to_numpy(zero_copy_only=False).astype(np.int64) - 1
    places[pc.is_null(column).to_numpy(zero_copy_only=False)] = -1
    return torch.from_numpy(places)


def _in_order(texts: Any, name: str) -> Any:
    """Return dates and times in a form whose texts are in their order."""
    is_date = pc.match_substring_regex(texts, ISO)
    if not pc.all(is_date, min_count=0).as_py():
        odd = texts[pc.index(is_date, False).as_py()].as_py()
        raise Invalid(
            f"{quoted(name)} has {quoted(odd)}, which is neither a number nor a date such as "
            "2024-12-31 or 2024-12-31 23:59:59, so its rows have no order",
            ("time",),
        )
    bare = pc.utf8_rtrim(texts, "Z")
    return pc.replace_substring(bare, "T", " ")
