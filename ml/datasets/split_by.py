"""Columns that assign each row to a split: how their values are written, and what they mean."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from ml.errors import Invalid
from ml.ingest.schema import PART_ORDER, Boolean, Categorical, Column, Numeric, Part
from ml.ingest.splits import part_of
from ml.spelling import text_of
from ml.spelling.booleans import boolean_in

MAX_SHOWN = 10
ALLOWED = "train, validation and test, however they are spelled"
OF_TWO = "is_train, is_validation or is_test"


def check_kind(column: Column) -> None:
    """Check that a column is of a kind that can assign rows to splits.

    Raises:
        Invalid: it is not.
    """
    if isinstance(column, Boolean | Categorical):
        return
    if isinstance(column, Numeric) and _is_truth(column):
        return
    other = " and has other values than 0 and 1" if isinstance(column, Numeric) else ""
    raise Invalid(
        f"is {column.kind}{other}; choose a column with the values {ALLOWED}, or a boolean one "
        f"that is named {OF_TWO}"
    )


def meanings(name: str, values: Sequence[Any]) -> dict[Any, Part]:
    """Return the split that each of the different values of the column `name` stands for.

    Texts name a split. Truths, also written as yes and no or as 1 and 0, say whether a row belongs
    to the split that the column's name names; rows that do not are training rows, or test rows if
    the name is that of the training rows.

    Raises:
        Invalid: a value does not name a split, or truths are those of a name that does not.
    """
    known = [value for value in values if value is not None]
    found = _meanings(name, known) if known else {}
    if len(known) < len(values):
        raise Invalid(f"has no value in some rows; allowed are {ALLOWED}")
    return found


def _meanings(name: str, values: Sequence[Any]) -> dict[Any, Part]:
    texts = {value: text_of(value) for value in values}
    truths = {value: boolean_in(text.strip()) for value, text in texts.items()}
    if None not in truths.values():
        named = part_of(name)
        if named is None:
            raise Invalid(
                f"has the values {_shown(values)}, and its name does not say which of them is the "
                f"test; name it {OF_TWO}, or write {ALLOWED}"
            )
        other: Part = "test" if named == "train" else "train"
        return {value: named if truth else other for value, truth in truths.items()}
    found = {value: part_of(text) for value, text in texts.items()}
    if wrong := [value for value, part in found.items() if part is None]:
        raise Invalid(f"has the value {_shown(wrong)} in some rows; allowed are {ALLOWED}")
    return {value: part for value, part in found.items() if part is not None}


def sizes_of(name: str, column: Any) -> dict[Part, int]:
    """Return the number of rows in each split that the values of `column` name.

    Raises:
        Invalid: see `meanings`; or there are no training rows.
    """
    counts = {one["values"]: one["counts"] for one in pc.value_counts(column).to_pylist()}
    sizes: dict[Part, int] = {}
    for value, part in meanings(name, list(counts)).items():
        sizes[part] = sizes.get(part, 0) + counts[value]
    if "train" not in sizes:
        raise Invalid("has no training rows; mark some as train")
    return sizes


def rows_of(name: str, column: Any) -> dict[Part, Tensor]:
    """Return the indices of the rows of each split, int64."""
    encoded = pc.dictionary_encode(column, null_encoding="encode")
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    values = encoded.dictionary.to_pylist()
    known = meanings(name, values)
    parts = np.array([PART_ORDER.index(known[value]) for value in values], np.int64)
    part_of_row = torch.from_numpy(parts[encoded.indices.to_numpy(zero_copy_only=False)])
    return {
        part: (part_of_row == number).nonzero().squeeze(1) for number, part in enumerate(PART_ORDER)
    }


def _is_truth(column: Numeric) -> bool:
    low, high = column.min, column.max
    return column.whole and low is not None and high is not None and 0 <= low <= high <= 1


def _shown(values: Sequence[Any]) -> str:
    return ", ".join(
        repr(value) if isinstance(value, str) else text_of(value) for value in values[:MAX_SHOWN]
    )
