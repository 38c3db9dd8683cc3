"""Python values as JSON."""

import json
import math
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any

from epochd.schemas import DatasetInfo, DatasetSummary

NO_VALUES = frozenset({"NAType", "NaTType"})
"""Types of the missing values of pandas, which equal nothing."""


def encode(document: object) -> bytes:
    """Return a document as JSON."""
    return json.dumps(plain(document), ensure_ascii=False, separators=(",", ":")).encode()


def plain(value: Any) -> Any:
    """Return a value as JSON has it: NaN and pandas' missing values are null, dates ISO 8601, and
    numbers and arrays of numpy those of Python. A data set is the `dataset` of a job.

    Raises:
        TypeError: JSON has no such value.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return None if math.isnan(value) else float(value)
        case Mapping():
            return {str(name): plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _ if type(value).__name__ in NO_VALUES:
            return None
        case date() | time():
            return value.isoformat()
        case Decimal():
            return None if value.is_nan() else float(value)
        case DatasetInfo() | DatasetSummary():
            return {"kind": "upload", "id": value.id}
        case _ if hasattr(value, "tolist"):  # of numpy
            return plain(value.tolist())
        case _ if hasattr(value, "info"):
            return plain(value.info)
    raise TypeError(f"JSON has no {type(value).__name__}: {value!r:.100}")
