"""A data directory with a model, a data set and a checkpoint, as the service leaves it."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient

from ml import datasets
from ml.artifacts import save_model
from ml.specs import TrainingSpec
from ml.training import checkpoints
from ml.training.initial_model import build
from service.app import create_app
from service.jobs.attempts import AttemptStore
from service.jobs.store import JobStore
from service.settings import Settings
from service.storage.database import Database
from tests.conftest import LINE
from tests.service.conftest import claimed, submitted

CSV = b"x,y\n1,2\n2,4\n3,6\n"


@dataclass(frozen=True)
class Installation:
    """A stopped service's data directory, and what it holds."""

    settings: Settings
    job_id: str
    """Job that made version 1 of the model `line`."""
    paused: str
    """Job with a checkpoint."""
    dataset: str

    @property
    def database(self) -> Path:
        return self.settings.data_dir / "epochd.db"

    @property
    def model(self) -> Path:
        return self.settings.models_dir / f"{self.job_id}-1"

    @property
    def rows(self) -> Path:
        [directory] = (p for p in self.settings.uploads_dir.iterdir() if p.name[0] != ".")
        return directory

    def predict(self) -> object:
        return predict(self.settings)


def predict(settings: Settings) -> object:
    """Start the service and return a prediction of the model."""
    with TestClient(create_app(settings)) as client:
        answer = client.post("/predict", json={"model": "line", "inputs": [[2.0], [3.0]]})
        assert answer.status_code == 200, answer.text
        return answer.json()["predictions"]


@pytest.fixture
def installed(settings: Settings) -> Installation:
    with TestClient(create_app(settings)) as client:
        answer = client.post("/datasets?name=pairs&target=y", content=CSV)
        assert answer.status_code == 201, answer.text
        dataset = answer.json()["id"]
    return Installation(settings, *add_model(settings), dataset)


def add_model(settings: Settings) -> tuple[str, str]:
    """Register a model, and add a paused job with a checkpoint; return the ids of the jobs."""
    database = Database(settings.sqlalchemy_url)
    jobs, attempts = JobStore(database), AttemptStore(database, settings)
    spec = TrainingSpec.of(LINE)
    data = datasets.load(spec.dataset, spec.split, settings.datasets_dir)
    job_id = submitted(jobs)
    directory = settings.models_dir / f"{job_id}-1"
    manifest = save_model(
        directory, build(spec, data), spec, data.signature, {}, "0" * 64, torch.device("cpu")
    )
    attempts.succeed(claimed(attempts), manifest, directory.name)
    paused = submitted(jobs)
    jobs.pause(paused)
    checkpoints.save(settings.checkpoints_dir / paused, 1, 10, {"step": 10}, keep=2)
    database.close()
    return job_id, paused
