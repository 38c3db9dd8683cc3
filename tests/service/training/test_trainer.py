"""Attempts run in this process on a real SQLite file; GPUs are simulated."""

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from sqlalchemy import select
from sqlalchemy.exc import DatabaseError

from ml import devices
from ml.errors import Diverged
from ml.training import checkpoints, loop, summary
from ml.training.engines.base import Engine
from ml.training.loop import Report
from ml.training.run import Run
from service.jobs.attempts import AttemptStore, LeaseLost
from service.jobs.store import JobStore
from service.models.registry import ModelRegistry
from service.storage.database import Database
from service.storage.tables import JobRow
from service.training import attempt as attempt_module
from service.training import trainer
from service.training.attempt import TrainerContext
from tests.conftest import PLANE
from tests.service.conftest import claimed, submitted
from tests.service.jobs.test_attempts import set_row

CPU = torch.device("cpu")
# 50 steps.
SHORT: dict[str, Any] = PLANE | {"epochs": 2, "batch_size": 40, "report_every": 10}
ILLEGAL = RuntimeError("CUDA error: an illegal memory access was encountered")

Fit = Callable[[Run, Engine], Iterator[Report | None]]


@pytest.fixture
def unsound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every device unsound, and fail the test if one is used afterwards."""

    def refuse(device: torch.device) -> None:
        raise AssertionError(f"{device} was used")

    monkeypatch.setattr(devices, "is_sound", lambda device: False)
    monkeypatch.setattr(devices, "release_memory", refuse)


def failing_at(step: int, error: Exception) -> Fit:
    """Return a `loop.fit` that raises `error` before `step`."""

    def failing(run: Run, engine: Engine) -> Iterator[Report | None]:
        for report in loop.fit(run, engine):
            yield report
            if report is None and run.progress.step >= step:
                raise error

    return failing


def ready(database: Database, job_id: str) -> None:
    """Make a crashed job due at once."""
    set_row(database, job_id, not_before=None)


@pytest.mark.usefixtures("unsound")
def test_job_on_a_broken_device_resumes_elsewhere(
    jobs: JobStore,
    attempts: AttemptStore,
    database: Database,
    registry: ModelRegistry,
    context: TrainerContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undisturbed = submitted(jobs, **SHORT)
    trainer._attempt(claimed(attempts), attempts, context)
    job_id = submitted(jobs, **SHORT, checkpoint_seconds=1e-9)
    with monkeypatch.context() as patch:
        patch.setattr(attempt_module, "fit", failing_at(36, ILLEGAL))
        assert not trainer._attempt(claimed(attempts), attempts, context)
    assert jobs.fetch(job_id).status == "queued"
    [attempt] = jobs.attempts(job_id)
    assert attempt.outcome == "trainer_died"
    [line] = [
        e.data["message"]
        for e in jobs.events(job_id, 0, 100).events
        if e.kind == "status" and "message" in e.data
    ]
    assert line.startswith("the trainer process can no longer use cpu after")
    assert "an illegal memory access" in line
    ready(database, job_id)
    claim = claimed(attempts)
    trainer._attempt(claim, attempts, context)
    with database.read() as session:
        began_at = session.scalar(select(JobRow.training_step).where(JobRow.id == job_id))
    assert began_at == 36
    versions = [registry.fetch("plane", version) for version in (1, 2)]
    assert [version.lineage.job_id for version in versions] == [undisturbed, job_id]
    assert versions[0].lineage.weights_sha256 == versions[1].lineage.weights_sha256


@pytest.mark.usefixtures("unsound")
def test_job_that_breaks_every_device_fails_with_its_error(
    jobs: JobStore,
    attempts: AttemptStore,
    database: Database,
    context: TrainerContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = submitted(jobs, **SHORT, max_attempts=2)
    monkeypatch.setattr(attempt_module, "fit", failing_at(0, ILLEGAL))
    for _ in range(2):
        trainer._attempt(claimed(attempts), attempts, context)
        ready(database, job_id)
    job = jobs.fetch(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.kind == "trainer_died"
    assert "an illegal memory access" in job.error.message
    assert "Traceback" in (job.error.traceback or "")


@pytest.mark.usefixtures("unsound")
def test_job_error_on_an_unsound_device_fails_the_job(
    jobs: JobStore, attempts: AttemptStore, context: TrainerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submitted(jobs, **SHORT)
    monkeypatch.setattr(attempt_module, "fit", failing_at(0, Diverged("the loss is NaN")))
    assert not trainer._attempt(claimed(attempts), attempts, context)
    job = jobs.fetch(job_id)
    assert (job.status, job.error and job.error.kind) == ("failed", "diverged")


@pytest.mark.parametrize(
    "error", [LeaseLost("it is over"), DatabaseError("", {}, Exception("malformed"))]
)
@pytest.mark.parametrize("sound", [True, False])
def test_trainer_exits_after_an_attempt_that_broke_its_device(
    jobs: JobStore,
    attempts: AttemptStore,
    context: TrainerContext,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    sound: bool,
) -> None:
    def fail(*_: object) -> None:
        raise error

    submitted(jobs, **SHORT)
    claim = claimed(attempts)
    monkeypatch.setattr(devices, "is_sound", lambda device: sound)
    for name in ("load_work", "fail", "record_crash"):
        monkeypatch.setattr(attempts, name, fail)
    assert trainer._attempt(claim, attempts, context) == sound


def test_error_on_a_sound_device_fails_the_job_and_keeps_the_trainer(
    jobs: JobStore, attempts: AttemptStore, context: TrainerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submitted(jobs, **SHORT)
    monkeypatch.setattr(attempt_module, "fit", failing_at(0, RuntimeError("a bug")))
    assert trainer._attempt(claimed(attempts), attempts, context)
    job = jobs.fetch(job_id)
    assert (job.status, job.error and job.error.kind) == ("failed", "internal")


@pytest.mark.parametrize(
    ("name", "trainer_device", "used"),
    [
        ("auto", "cuda:1", "cuda:1"),
        ("cuda", "cuda:1", "cuda:1"),
        ("cuda:0", "cuda:1", "cuda:0"),
        ("cpu", "cuda:1", "cpu"),
        ("auto", "cpu", "cpu"),
        ("cuda", "cpu", "cuda:0"),
    ],
)
def test_job_uses_its_device_within_the_share_of_the_trainer(
    jobs: JobStore,
    attempts: AttemptStore,
    context: TrainerContext,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    trainer_device: str,
    used: str,
) -> None:
    class Enough(Exception):
        pass

    calls: list[tuple[str, str]] = []

    def use(device: torch.device, share: float) -> None:
        calls.append((f"use {share}", str(device)))

    def run(model: object, data: object, spec: object, device: torch.device) -> Run:
        calls.append(("run", str(device)))
        raise Enough

    def is_sound(device: torch.device) -> bool:
        calls.append(("is sound", str(device)))
        return True

    def release_memory(device: torch.device) -> None:
        calls.append(("release", str(device)))

    context = TrainerContext(
        context.settings, torch.device(trainer_device), 0.5, context.datasets, context.draining
    )
    monkeypatch.setattr(devices, "gpu_count", lambda: 2)
    for stand_in in (use, is_sound, release_memory):
        monkeypatch.setattr(devices, stand_in.__name__, stand_in)
    monkeypatch.setattr(attempt_module, "Run", run)
    submitted(jobs, **SHORT | {"device": name})
    trainer._attempt(claimed(attempts), attempts, context)
    # `is_sound` runs twice: to explain the error, and before the next attempt.
    expected = ["use 0.5", "run", "is sound", "is sound", "release"]
    assert calls == [(what, used) for what in expected]


def test_job_for_a_missing_gpu_fails(
    jobs: JobStore, attempts: AttemptStore, context: TrainerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "gpu_count", lambda: 1)
    job_id = submitted(jobs, **SHORT | {"device": "cuda:1"})
    assert trainer._attempt(claimed(attempts), attempts, context)
    error = jobs.fetch(job_id).error
    assert error is not None
    assert (error.kind, error.message.partition(" is")[0]) == ("invalid", "device: cuda:1")


def test_one_run_is_in_memory_at_a_time(
    jobs: JobStore, attempts: AttemptStore, context: TrainerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[weakref.ref[Run]] = []
    alive: list[int] = []

    def count() -> None:
        alive.append(sum(run() is not None for run in runs))

    def make(*arguments: Any) -> Run:
        count()
        run = Run(*arguments)
        runs.append(weakref.ref(run))
        return run

    monkeypatch.setattr(attempt_module, "Run", make)
    # As on a GPU; any remaining reference would keep the run alive.
    monkeypatch.setattr(devices, "release_memory", lambda device: gc.collect())
    submitted(jobs, **SHORT | {"split": {"folds": 3}})
    gc.disable()
    try:
        assert trainer._attempt(claimed(attempts), attempts, context)
        count()
    finally:
        gc.enable()
    assert alive == [0, 0, 0, 0, 0]


def test_failed_run_is_not_kept_in_memory(
    jobs: JobStore, attempts: AttemptStore, context: TrainerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[weakref.ref[Run]] = []

    def fail(run: Run, engine: Engine) -> Iterator[Report]:
        runs.append(weakref.ref(run))
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(attempt_module, "fit", fail)
    # pytest keeps log records, with their tracebacks.
    monkeypatch.setattr(attempt_module.logger, "disabled", True)
    monkeypatch.setattr(devices, "release_memory", lambda device: gc.collect())
    submitted(jobs, **SHORT)
    gc.disable()
    try:
        assert trainer._attempt(claimed(attempts), attempts, context)
        assert [run() for run in runs] == [None]
    finally:
        gc.enable()


def test_checkpoint_is_loaded_to_the_cpu_and_released(
    jobs: JobStore,
    attempts: AttemptStore,
    database: Database,
    context: TrainerContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = submitted(jobs, **SHORT, checkpoint_seconds=1e-9, max_attempts=2)
    with monkeypatch.context() as patch:
        patch.setattr(devices, "is_sound", lambda device: False)
        patch.setattr(attempt_module, "fit", failing_at(36, ILLEGAL))
        trainer._attempt(claimed(attempts), attempts, context)
    ready(database, job_id)
    load = checkpoints.load_newest
    read: list[weakref.ref[torch.Tensor]] = []

    def load_newest(directory: Any) -> dict[str, Any] | None:
        state = load(directory)
        assert state is not None
        read.extend(weakref.ref(tensor) for tensor in state["model"].values())
        return state

    def checked(run: Run, engine: Engine) -> Iterator[Report | None]:
        assert run.progress.step >= 10
        assert read
        assert all(tensor() is None for tensor in read)
        return loop.fit(run, engine)

    context = TrainerContext(context.settings, CPU, 1.0, context.datasets, context.draining)
    monkeypatch.setattr(checkpoints, "load_newest", load_newest)
    monkeypatch.setattr(attempt_module, "fit", checked)
    trainer._attempt(claimed(attempts), attempts, context)
    assert jobs.fetch(job_id).status == "succeeded"


def test_job_shows_the_engine_in_use(
    jobs: JobStore,
    attempts: AttemptStore,
    database: Database,
    context: TrainerContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str | None] = []

    def shown() -> str | None:
        with database.read() as session:
            return session.get_one(JobRow, 1).engine

    def falling_back(run: Run, engine: Engine) -> Iterator[Report | None]:
        engine.name = "resident+graph"
        for report in loop.fit(run, engine):
            if run.progress.step >= 25:
                engine.name = "resident"
            yield report
            if report is None:
                seen.append(shown())

    monkeypatch.setattr(attempt_module, "fit", falling_back)
    job_id = submitted(jobs, **SHORT, checkpoint_seconds=1e-9)
    assert trainer._attempt(claimed(attempts), attempts, context)
    # Reports are written before each checkpoint.
    assert list(dict.fromkeys(seen))[-2:] == ["resident+graph", "resident"]
    assert jobs.fetch(job_id).engine == "resident"


def test_job_with_an_outdated_spec_fails_with_the_reason(
    jobs: JobStore, attempts: AttemptStore, database: Database, context: TrainerContext
) -> None:
    job_id = submitted(jobs, **SHORT)
    set_row(database, job_id, spec=jobs.fetch(job_id).spec | {"epochs": 0})
    assert trainer._attempt(claimed(attempts), attempts, context)
    job = jobs.fetch(job_id)
    assert job.error
    assert (job.status, job.error.kind) == ("failed", "invalid")
    assert job.error.message.startswith("epochs: input should be greater than or equal to 1")


@pytest.mark.parametrize("action", ["cancel", "pause"])
@pytest.mark.parametrize("folds", [None, 2])
def test_request_during_the_end_of_a_run_is_performed(
    jobs: JobStore,
    attempts: AttemptStore,
    registry: ModelRegistry,
    context: TrainerContext,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    folds: int | None,
) -> None:
    short = SHORT | {"keep_best": True, "split": {"folds": folds}}
    undisturbed = submitted(jobs, **short)
    trainer._attempt(claimed(attempts), attempts, context)
    job_id = submitted(jobs, **short)

    def requested_meanwhile(run: Run) -> summary.TrainingSummary:
        getattr(jobs, action)(job_id)
        return summarize(run)

    summarize = summary.summarize
    with monkeypatch.context() as patch:
        patch.setattr(summary, "summarize", requested_meanwhile)
        assert trainer._attempt(claimed(attempts), attempts, context)
    assert jobs.fetch(job_id).status == {"cancel": "cancelled", "pause": "paused"}[action]
    assert registry.snapshot()["plane"].directories.keys() == {1}
    assert len(list(context.settings.models_dir.iterdir())) == 1
    before = jobs.metrics(job_id, None, 1000, 0)
    (jobs.retry if action == "cancel" else jobs.resume)(job_id)
    assert trainer._attempt(claimed(attempts), attempts, context)
    job = jobs.fetch(job_id)
    assert (job.status, job.metrics) == ("succeeded", jobs.fetch(undisturbed).metrics)
    assert jobs.metrics(job_id, None, 1000, 0) == before
    versions = [registry.fetch("plane", version) for version in (1, 2)]
    assert versions[0].lineage.weights_sha256 == versions[1].lineage.weights_sha256
    assert versions[0].best_epoch == versions[1].best_epoch == job.best_epoch == 2


def test_job_chooses_its_threads(
    jobs: JobStore,
    attempts: AttemptStore,
    registry: ModelRegistry,
    context: TrainerContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = [3]
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    context = replace(context, threads=2)
    for options in ({"threads": 1}, {}):
        submitted(jobs, **SHORT | options)
        assert trainer._attempt(claimed(attempts), attempts, context)
    assert threads == [3, 1, 2]
    lineages = [registry.fetch("plane", version).lineage for version in (1, 2)]
    assert [lineage.threads for lineage in lineages] == [1, 2]
    assert lineages[0].cpu_capability == torch.backends.cpu.get_cpu_capability()
