"""One service for the tests that leave it as they found it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.server import Server, serving


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory, mnist_root: Path) -> Path:
    directory = tmp_path_factory.mktemp("data")
    (directory / "datasets").symlink_to(mnist_root)
    return directory


@pytest.fixture(scope="session")
def server(data_dir: Path) -> Iterator[Server]:
    """A service with two trainers and the real MNIST."""
    with serving(data_dir, trainers=2) as server:
        yield server
