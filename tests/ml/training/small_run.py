"""A small training run: 100 training rows, in batches of 32."""

from typing import Any

from tests.conftest import PLANE

SMALL_RUN: dict[str, Any] = PLANE | {
    "dataset": PLANE["dataset"] | {"size": 150, "noise": 0.5},
    "model": {"kind": "mlp", "hidden": [8, 8], "dropout": 0.3},
    "optimizer": {"kind": "adam", "lr": 0.01},
    "split": {"validation": 0.2, "test": 0.133},
}
