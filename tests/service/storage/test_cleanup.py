"""Data that cleanup deletes and data that it keeps."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from ml.artifacts import Manifest
from ml.training.loop import Report
from service.jobs.attempts import AttemptStore
from service.jobs.events import NewEvent
from service.jobs.failures import SERVICE_ENDED
from service.jobs.store import JobStore
from service.settings import Settings
from service.storage.cleanup import Cleanup
from service.storage.database import Database
from service.storage.tables import JobRow
from tests.service.conftest import claimed, submitted


@pytest.fixture
def cleanup(database: Database, settings: Settings) -> Cleanup:
    for directory in (settings.checkpoints_dir, settings.models_dir):
        directory.mkdir(parents=True)
    return Cleanup(database, settings)


def put(directory: Path) -> Path:
    directory.mkdir()
    (directory / "a file").write_text("something")
    return directory


def test_files_without_a_row_are_removed(
    jobs: JobStore,
    attempts: AttemptStore,
    settings: Settings,
    manifest: Manifest,
    cleanup: Cleanup,
) -> None:
    job_id = submitted(jobs)
    attempts.succeed(claimed(attempts), manifest, f"{job_id}-1")
    kept = [put(settings.models_dir / f"{job_id}-1"), put(settings.checkpoints_dir / job_id)]
    lost = [
        put(settings.models_dir / f"{job_id}-2"),
        put(settings.models_dir / f".{job_id}-3.partial"),
        put(settings.checkpoints_dir / "job_deleted"),
    ]
    cleanup.remove_orphans()
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in lost)


def test_only_old_step_metrics_and_checkpoints_are_removed(
    jobs: JobStore,
    attempts: AttemptStore,
    database: Database,
    settings: Settings,
    cleanup: Cleanup,
) -> None:
    old, new, waiting = (submitted(jobs) for _ in range(3))
    for job_id in (old, new, waiting):
        reports = [Report("step", 1, 1, {"loss": 1.0}), Report("epoch", 1, 1, {"train_loss": 1.0})]
        attempts.heartbeat(claimed(attempts), [NewEvent.from_report(report) for report in reports])
        put(settings.checkpoints_dir / job_id)
    jobs.pause(waiting)
    attempts.expire_leases(SERVICE_ENDED, all_running=True)
    for job_id in (old, new):
        jobs.cancel(job_id)
    ended = datetime.now(UTC) - timedelta(days=settings.keep_days + 1)
    with database.write() as session:
        session.execute(update(JobRow).where(JobRow.id == old).values(finished_at=ended))
    cleanup.delete_expired()
    for job_id, levels in (
        (old, ["epoch"]),
        (new, ["step", "epoch"]),
        (waiting, ["step", "epoch"]),
    ):
        assert [m.level for m in jobs.metrics(job_id, None, 10, 0).data] == levels
        assert (settings.checkpoints_dir / job_id).exists() == (job_id != old)
