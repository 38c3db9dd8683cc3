"""Variables that the tests of tensor expressions share."""

from typing import Any

TENSORS: dict[str, Any] = {
    "x": list(range(12)),
    "m": [[1, 2], [3, 4]],
    "f": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],
}
