"""A service shared by the tests that leave it unchanged."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.datasets import mnist_files
from tests.conftest import PLANE
from tests.system.server import PATIENCE, Server, serving

TUTORIAL: dict[str, Any] = {
    "name": "mnist",
    "dataset": {"kind": "mnist"},
    "model": {"kind": "mlp", "hidden": [512, 256], "dropout": [0.2, 0.0]},
    "optimizer": {"kind": "adam", "lr": 0.001},
    "epochs": 2,
    "batch_size": 64,
}


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory, mnist_root: Path) -> Path:
    directory = tmp_path_factory.mktemp("data")
    (directory / "datasets").symlink_to(mnist_root)
    return directory


@pytest.fixture(scope="session")
def server(data_dir: Path) -> Iterator[Server]:
    """A service with two trainers and the real MNIST."""
    with serving(data_dir, trainers=2, predict_seconds=PATIENCE) as server:
        yield server


@pytest.fixture(scope="session")
def small(server: Server) -> str:
    """A small model of MNIST."""
    model = {"kind": "mlp", "hidden": [32]}
    server.run({"name": "small", "dataset": {"kind": "mnist"}, "model": model, "epochs": 1})
    return "small"


@pytest.fixture(scope="session")
def mnist_job(server: Server) -> dict[str, Any]:
    """The tutorial's MNIST job after two epochs, with the responses seen while it ran."""
    job_id = server.submit(TUTORIAL)
    seen = [len(server.metrics(job_id)) for e in server.events(job_id) if e["kind"] == "step"]
    job = server.job(job_id)
    assert job["status"] == "succeeded", job["error"]
    return job | {"seen": seen}


@pytest.fixture(scope="session")
def plane(server: Server) -> str:
    """A model of three features."""
    server.run(PLANE | {"name": "served-plane", "epochs": 20})
    return "served-plane"


@pytest.fixture(scope="session")
def pictures(mnist_root: Path) -> NDArray[np.uint8]:
    """The first test images."""
    return mnist_files.fetch(mnist_files.FAMILIES["mnist"], mnist_root).test_images[:20].numpy()
