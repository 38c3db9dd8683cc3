"""Jobs that end before their last step, and say why."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ml.training.loop import Report
from service.jobs.attempts import AttemptStore
from service.jobs.events import NewEvent
from service.jobs.store import JobStore
from service.models.registry import ModelRegistry
from service.storage.database import Database
from service.training import trainer
from service.training.attempt import TrainerContext
from tests.conftest import PLANE
from tests.service.conftest import claimed, submitted
from tests.service.jobs.test_attempts import set_row

SHORT: dict[str, Any] = PLANE | {"epochs": 4, "batch_size": 400}


@pytest.mark.parametrize(
    ("changes", "reason", "epochs"),
    [
        ({}, None, 4),
        ({"max_seconds": 1e9}, None, 4),
        ({"max_seconds": 1e-9}, "max_seconds", 1),
        ({"patience": 1, "min_delta": 1e9}, "patience", 3),
    ],
    ids=str,
)
def test_job_and_model_say_what_stopped_them(
    jobs: JobStore,
    attempts: AttemptStore,
    registry: ModelRegistry,
    context: TrainerContext,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
    reason: str | None,
    epochs: int,
) -> None:
    caplog.set_level(logging.INFO)
    job_id = submitted(jobs, **SHORT | changes)
    assert jobs.fetch(job_id).stopped_by is None
    trainer._attempt(claimed(attempts), attempts, context)
    job = jobs.fetch(job_id)
    assert (job.status, job.stopped_by, job.progress.epoch) == ("succeeded", reason, epochs)
    assert registry.fetch("plane", 1).stopped_by == reason
    said = [line.message for line in jobs.logs(job_id, 100, 0).data if "stopped" in line.message]
    assert said == [f"stopped by {reason} after epoch {epochs}"] * bool(reason)


@pytest.mark.parametrize(
    ("changes", "at_most"),
    [
        ({}, 91),
        ({"max_seconds": 12.0}, 2),
        ({"max_seconds": 24.0, "split": {"folds": 2}}, 0),
        ({"max_seconds": 1000.0}, 91),
    ],
    ids=str,
)
def test_estimate_of_the_end_regards_the_budget(
    jobs: JobStore,
    attempts: AttemptStore,
    database: Database,
    changes: dict[str, Any],
    at_most: float,
) -> None:
    job_id = submitted(jobs, **PLANE | changes)
    claim = claimed(attempts)
    attempts.mark_started(claim, "cpu", "resident", 0, 100)
    attempts.heartbeat(claim, [NewEvent.from_report(Report("step", 1, 10, {"loss": 1.0}))])
    set_row(database, job_id, training_at=datetime.now(UTC) - timedelta(seconds=10))
    eta = jobs.fetch(job_id).progress.eta_seconds
    assert eta is not None
    assert at_most - 2 <= eta <= at_most
