"""A job whose newest checkpoint is damaged continues from the one before, and its log says so."""

import threading

import pytest
import torch
from sqlalchemy import select

from ml.datasets.cache import DatasetCache
from ml.errors import Invalid
from ml.training import checkpoints
from service.jobs.attempts import AttemptStore
from service.jobs.store import JobStore
from service.settings import Settings
from service.storage.database import Database
from service.storage.tables import JobRow
from service.training import attempt as attempt_module
from service.training.attempt import Attempt, TrainerContext
from tests.damages import DAMAGES, USUAL
from tests.service.conftest import claimed, submitted
from tests.service.training.test_trainer import SHORT, failing_at


@pytest.mark.parametrize("damage", USUAL)
def test_checkpoint_before_is_used(
    jobs: JobStore,
    attempts: AttemptStore,
    database: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    cache = DatasetCache(settings.datasets_dir, 0)
    context = TrainerContext(settings, torch.device("cpu"), 1.0, cache, threading.Event())
    job_id = submitted(jobs, **SHORT, checkpoint_seconds=1e-9)
    with monkeypatch.context() as patch:
        patch.setattr(attempt_module, "fit", failing_at(36, Invalid("stopped")))
        Attempt(claimed(attempts), attempts, context).run()
    assert jobs.fetch(job_id).status == "failed"
    newest, before = checkpoints.listed(settings.checkpoints_dir / job_id)
    DAMAGES[damage](newest.path)
    jobs.retry(job_id)
    Attempt(claimed(attempts), attempts, context).run()
    assert jobs.fetch(job_id).status == "succeeded"
    with database.read() as session:
        began_at = session.scalar(select(JobRow.training_step).where(JobRow.id == job_id))
    assert began_at == before.step
    log = [e.data["message"] for e in jobs.events(job_id, 0, 1000).events if e.kind == "log"]
    if damage != "gone":
        assert any(f"the checkpoint of step {newest.step} is damaged" in line for line in log)
        assert f"continuing from the checkpoint before it, step {before.step}" in log
