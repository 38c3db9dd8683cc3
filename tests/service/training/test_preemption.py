"""A job that gives way goes on from where it stopped, on real attempts and real trainers."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from ml.training import loop
from ml.training.engines.base import Engine
from ml.training.loop import Report
from ml.training.run import Run
from service.jobs.attempts import AttemptStore
from service.jobs.store import JobStore
from service.models.registry import ModelRegistry
from service.settings import Settings
from service.storage.database import Database
from service.storage.tables import JobRow
from service.training import attempt as attempt_module
from service.training import trainer
from service.training.attempt import TrainerContext
from service.training.reporter import Reporter
from tests.conftest import PLANE
from tests.service.conftest import claimed
from tests.service.jobs.test_fair_share import ANNA, BEN, submit
from tests.service.training.test_scheduler import queue, run_until

__all__ = ["queue"]
SHORT: dict[str, Any] = PLANE | {"epochs": 2, "batch_size": 40, "report_every": 10}


def weights(registry: ModelRegistry, name: str) -> list[str]:
    versions = registry.snapshot()[name].directories
    return [registry.fetch(name, version).lineage.weights_sha256 for version in versions]


def test_preempted_attempt_goes_on_exactly(
    jobs: JobStore,
    database: Database,
    registry: ModelRegistry,
    settings: Settings,
    context: TrainerContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once = {"preempt_after_seconds": 0.0, "preempt_margin_seconds": 0.0}
    attempts = AttemptStore(database, settings.model_copy(update=at_once))
    submit(jobs, ANNA, **SHORT | {"name": "plane"})
    trainer._attempt(claimed(attempts), attempts, context)
    job_id = submit(jobs, ANNA, **SHORT | {"name": "plane"}, preemptible=True, max_attempts=1)
    bens: list[str] = []

    def interrupted(run: Run, engine: Engine) -> Iterator[Report | None]:
        for report in loop.fit(run, engine):
            if report is None and run.progress.step == 20 and not bens:
                bens.append(submit(jobs, BEN, **SHORT | {"name": "bens"}))
                assert attempts.preempt() == job_id
            yield report

    # Every look for a requested action reads the row, so that the test needs no time.
    monkeypatch.setattr(
        Reporter, "requested_action", lambda self: attempts.requested_action(self._claim)
    )
    monkeypatch.setattr(attempt_module, "fit", interrupted)
    trainer._attempt(claimed(attempts), attempts, context)
    assert jobs.fetch(job_id).status == "queued"
    order = []
    for _ in range(2):
        claim = claimed(attempts)
        trainer._attempt(claim, attempts, context)
        order.append(claim.job_id)
    assert order == [bens[0], job_id]
    assert [a.outcome for a in jobs.attempts(job_id)] == ["preempted", "succeeded"]
    with database.read() as session:
        # Nothing is trained twice.
        assert session.scalar(select(JobRow.training_step).where(JobRow.id == job_id)) == 20
    undisturbed_weights, resumed_weights = weights(registry, "plane")
    assert undisturbed_weights == resumed_weights


def test_scheduler_takes_turns_and_preempts(queue: JobStore, settings: Settings) -> None:
    """Two owners on one trainer: a job that would not end gives way, and goes on by itself."""
    limits = {"trainers": 1, "preempt_after_seconds": 0.5, "preempt_margin_seconds": 0.0}
    endless = submit(queue, ANNA, **PLANE | {"epochs": 1_000_000}, preemptible=True, max_attempts=1)
    bens: list[str] = []

    def done() -> bool:
        job = queue.fetch(endless)
        if not bens and job.progress.step:
            bens.append(submit(queue, BEN, **SHORT | {"name": "bens"}))
        goes_on = job.attempt == 2 and job.status == "running" and not job.requested_action
        if bens and goes_on and queue.fetch(bens[0]).status == "succeeded":
            queue.cancel(endless)
        return job.status == "cancelled"

    run_until(settings.model_copy(update=limits), done)
    first, second = queue.attempts(endless)
    [bens_attempt] = queue.attempts(bens[0])
    assert first.outcome == "preempted"
    assert first.ended_at is not None
    assert bens_attempt.ended_at is not None
    assert first.ended_at <= bens_attempt.started_at
    assert bens_attempt.ended_at <= second.started_at
