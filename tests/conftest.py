"""Fixtures shared by all tests: the tutorial's jobs, and the real MNIST."""

import gzip
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ml.datasets import mnist_files
from ml.errors import DataUnavailable

REPOSITORY = Path(__file__).parent.parent

LINE: dict[str, Any] = {
    "name": "line",
    "dataset": {
        "kind": "synthetic",
        "features": {"x": {"linspace": [0, 10]}},
        "target": "3*x + 2",
        "noise": 2.0,
        "size": 100,
    },
    "model": {"kind": "linear"},
    "optimizer": {"kind": "adam", "lr": 0.1},
    "epochs": 200,
    "batch_size": 100,
}

PLANE: dict[str, Any] = {
    "name": "plane",
    "dataset": {
        "kind": "synthetic",
        "features": {name: {"uniform": [0, 1]} for name in "abc"},
        "target": "2*a + 3*b - 1.5*c",
        "size": 1000,
    },
    "model": {"kind": "linear"},
    "optimizer": {"kind": "sgd", "lr": 0.01},
    "loss": "mse",
    "epochs": 100,
    "batch_size": 32,
}


@pytest.fixture(scope="session")
def mnist_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the real MNIST, from a folder beside this checkout if it exists, else from
    the service's own sources."""
    root = tmp_path_factory.mktemp("datasets")
    raw = root / "MNIST" / "raw"
    for beside in REPOSITORY.parent.glob("*/data/mnist"):
        raw.mkdir(parents=True)
        for file in beside.glob("*.gz"):
            with gzip.open(file) as packed, (raw / file.stem).open("wb") as plain:
                shutil.copyfileobj(packed, plain)
        break
    try:
        mnist_files.fetch(mnist_files.FAMILIES["mnist"], root)
    except DataUnavailable as error:
        pytest.skip(f"REAL MNIST IS NOT TESTED: {error}")
    return root


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files that start services first; the short files then balance the load of both cores."""
    items.sort(key=lambda item: REPOSITORY / "tests" / "system" not in item.path.parents)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide EPOCHD_* variables and .env files from tests, except the variable that runs the suite
    without the fast path."""
    for name in list(os.environ):
        if name.startswith("EPOCHD_") and name != "EPOCHD_FAST_PATH":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
