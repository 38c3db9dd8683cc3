"""Python values as JSON documents."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from epochd.documents import encode
from epochd.schemas import DatasetInfo
from tests.epochd.samples import DATASET


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1, 2]]), [[1, 2]]),
        (float("nan"), None),
        (np.float32("nan"), None),
        (Decimal("1.5"), 1.5),
        ((1, "é"), [1, "é"]),
        (date(2024, 12, 31), "2024-12-31"),
        (datetime(2024, 12, 31, 1, tzinfo=UTC), "2024-12-31T01:00:00+00:00"),
        (DatasetInfo.model_validate(DATASET), {"kind": "upload", "id": "ds_1"}),
    ],
)
def test_values_are_written(value: Any, written: Any) -> None:
    assert json.loads(encode({"x": value})) == {"x": written}


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", 1j])
def test_what_json_lacks_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="JSON has no"):
        encode([value])
