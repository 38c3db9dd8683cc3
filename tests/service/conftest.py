"""A real app on a real SQLite file, called through httpx, and its stores, called directly."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from pydantic import ValidationError

from ml import datasets
from ml.artifacts import Manifest, save_model
from ml.datasets.uploads import NO_UPLOADS
from ml.specs import TrainingSpec, resolve
from ml.training.initial_model import build
from service.app import create_app
from service.jobs.attempts import AttemptStore, Claim
from service.jobs.schemas import JobRequest
from service.jobs.store import JobStore
from service.models.registry import ModelRegistry
from service.settings import Settings
from service.storage.database import Database
from service.storage.shared_version import SharedVersion
from tests.conftest import LINE


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", trainers=0)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new database at the latest revision, for tests to copy: migrations take a while."""
    file = tmp_path_factory.mktemp("migrated") / "epochd.db"
    database = Database(f"sqlite:///{file}")
    database.migrate()
    database.close()
    return file


@pytest.fixture
def client(settings: Settings, migrated: Path) -> Iterator[TestClient]:
    """A service without trainers: jobs stay queued."""
    settings.data_dir.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(migrated, settings.data_dir)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def database(tmp_path: Path, migrated: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{shutil.copy(migrated, tmp_path)}")
    yield database
    database.close()


@pytest.fixture
def jobs(database: Database) -> JobStore:
    return JobStore(database)


@pytest.fixture
def attempts(database: Database, settings: Settings) -> AttemptStore:
    return AttemptStore(database, settings)


@pytest.fixture
def registry(database: Database, settings: Settings) -> ModelRegistry:
    return ModelRegistry(
        database, settings.models_dir, SharedVersion(settings.registry_version_file)
    )


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    spec = TrainingSpec.of(LINE)
    data = datasets.load(spec.dataset, spec.split, tmp_path)
    model = build(spec, data)
    cpu = torch.device("cpu")
    return save_model(
        tmp_path / "model", model, spec, data.signature, {"test_r2": 0.9}, "0" * 64, cpu
    )


def submitted(jobs: JobStore, **options: object) -> str:
    request = JobRequest.model_validate(LINE | options)
    return jobs.submit(resolve(request.spec, NO_UPLOADS), request.options).job.id


def outdated(document: dict[str, Any]) -> dict[str, Any]:
    """Return a spec as stored by an earlier version, which current rules refuse."""
    old = document | {"epochs": 0, "momentum": 0.9, "model": document["model"] | {"bias": True}}
    with pytest.raises(ValidationError):
        TrainingSpec.model_validate(old)
    return old


def claimed(attempts: AttemptStore) -> Claim:
    claim = attempts.claim("a trainer")
    assert claim is not None
    return claim
