"""A real app on a real SQLite file, spoken to through httpx."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", trainers=0)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """A service without trainers: jobs stay queued."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client
