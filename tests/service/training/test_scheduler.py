"""The real scheduler, with real trainer processes."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml import devices
from service.jobs.attempts import AttemptStore
from service.jobs.store import JobStore
from service.settings import Settings
from service.storage.database import Database
from service.training import scheduler
from service.training.device_warnings import DeviceWarnings
from service.training.scheduler import Scheduler, trainer_slots
from service.training.trainer_process import TrainerDied, TrainerProcess
from tests.conftest import REPOSITORY
from tests.service.conftest import submitted

SPOILED = """
import atexit, sys, time
if "service.training.trainer" in sys.orig_argv:
    from ml import devices
    devices.is_sound = lambda device: False
    atexit.register(time.sleep, 1)
"""
"""Makes every attempt of a trainer break its device, and its process exit as slowly as one with a
GPU."""


@pytest.fixture
def queue(settings: Settings) -> Iterator[JobStore]:
    for directory in (settings.models_dir, settings.checkpoints_dir, settings.datasets_dir):
        directory.mkdir(parents=True)
    database = Database(settings.sqlalchemy_url)
    database.migrate()
    yield JobStore(database)
    database.close()


def run_until(settings: Settings, done: Callable[[], bool]) -> None:
    """Run a scheduler until `done`."""

    async def run() -> None:
        database = Database(settings.sqlalchemy_url)
        running = Scheduler(AttemptStore(database, settings), settings)
        await running.start()
        try:
            async with asyncio.timeout(120):
                while not done():
                    await asyncio.sleep(0.1)
        finally:
            await running.stop()
            database.close()

    asyncio.run(run())


def statuses(queue: JobStore, jobs: list[str]) -> list[str]:
    return [queue.fetch(job).status for job in jobs]


def test_exiting_trainer_loses_no_other_job(
    queue: JobStore, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SPOILED)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(REPOSITORY)]))
    jobs = [submitted(queue) for _ in range(3)]
    settings = settings.model_copy(update={"trainers": 1})
    run_until(settings, lambda: statuses(queue, jobs) == ["succeeded"] * 3)
    attempts = [attempt for job in jobs for attempt in queue.attempts(job)]
    assert [attempt.outcome for attempt in attempts] == ["succeeded"] * 3
    assert len({attempt.trainer for attempt in attempts}) == 3


def test_gpu_where_no_trainer_starts_is_dropped(
    queue: JobStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, float]] = []
    start = TrainerProcess.start

    async def broken(settings: Settings, device: str, share: float) -> TrainerProcess:
        started.append((device, share))
        if device != "cpu":
            raise TrainerDied(1)
        return await start(settings, device, share)

    monkeypatch.setattr(devices, "gpu_count", lambda: 1)
    monkeypatch.setattr(TrainerProcess, "start", broken)
    monkeypatch.setattr(scheduler, "RESTART_SECONDS", (0.0,))
    warnings = DeviceWarnings(settings.warnings_file)
    warnings.add("of an earlier service")
    jobs = [submitted(queue)]
    settings = settings.model_copy(update={"trainers": 1})
    run_until(settings, lambda: statuses(queue, jobs) == ["succeeded"])
    assert started == [("cuda:0", 1.0)] * 3 + [("cpu", 1.0)]
    assert queue.fetch(jobs[0]).device == "cpu"
    [warning] = warnings.all()
    assert warning.startswith("cuda:0 cannot be used")


def test_trainer_that_starts_keeps_its_gpu(
    queue: JobStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    start = TrainerProcess.start

    async def shaky(settings: Settings, device: str, share: float) -> TrainerProcess:
        started.append(device)
        if len(started) in (1, 2, 4, 5):
            raise TrainerDied(1)
        trainer = await start(settings, "cpu", share)
        if len(started) == 3:
            await trainer.stop()
        return trainer

    monkeypatch.setattr(devices, "gpu_count", lambda: 1)
    monkeypatch.setattr(TrainerProcess, "start", shaky)
    monkeypatch.setattr(scheduler, "RESTART_SECONDS", (0.0,))
    settings = settings.model_copy(update={"trainers": 1})
    run_until(settings, lambda: len(started) == 6)
    assert set(started) == {"cuda:0"}
    assert DeviceWarnings(settings.warnings_file).all() == []


@pytest.mark.parametrize(
    ("gpus", "count", "expected"),
    [
        (0, 0, []),
        (0, 2, [("cpu", 1.0), ("cpu", 1.0)]),
        (1, 1, [("cuda:0", 1.0)]),
        (1, 2, [("cuda:0", 0.5), ("cuda:0", 0.5)]),
        (2, 3, [("cuda:0", 0.5), ("cuda:1", 1.0), ("cuda:0", 0.5)]),
        (4, 2, [("cuda:0", 1.0), ("cuda:1", 1.0)]),
    ],
)
def test_trainers_share_the_gpus(
    monkeypatch: pytest.MonkeyPatch, gpus: int, count: int, expected: list[tuple[str, float]]
) -> None:
    monkeypatch.setattr(devices, "gpu_count", lambda: gpus)
    assert [(slot.device, slot.share) for slot in trainer_slots(count)] == expected
