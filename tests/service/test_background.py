"""Handling of the data directory at start-up."""

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from service.storage.cleanup import Cleanup


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Calls of the clean-up."""
    calls: list[str] = []

    async def run(_: Cleanup) -> None:
        calls.append("run")

    monkeypatch.setattr(Cleanup, "run", run)
    return calls


def test_other_database_disables_cleanup(started: list[str], settings: Settings) -> None:
    with TestClient(create_app(settings)):
        pass
    assert started == ["run"]
    model = settings.models_dir / "job_a-1"
    model.mkdir()
    unfinished = [settings.models_dir / ".job_a-2.partial", settings.incoming_dir / "upload"]
    for path in unfinished:
        path.mkdir()
    settings.instance_file.write_text("another")
    with TestClient(create_app(settings)) as client:
        assert client.get("/health/ready").json()["status"] == "degraded"
    assert started == ["run"]
    assert model.exists()
    assert all(path.exists() for path in unfinished)
    model.rmdir()
    with TestClient(create_app(settings)) as client:
        assert client.get("/health/ready").json() == {"status": "ok", "warnings": []}
    assert started == ["run", "run"]
    assert not any(path.exists() for path in unfinished)
