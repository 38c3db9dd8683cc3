"""Data that cleanup deletes and data that it keeps."""

import os
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
from service.storage.cleanup import FEW, Cleanup
from service.storage.database import Database
from service.storage.tables import DatasetRow, JobRow
from tests.service.conftest import claimed, submitted


@pytest.fixture
def cleanup(database: Database, settings: Settings) -> Cleanup:
    for directory in (settings.checkpoints_dir, settings.models_dir):
        directory.mkdir(parents=True)
    return Cleanup(database, settings)


def put(directory: Path) -> Path:
    directory.mkdir(parents=True)
    (directory / "a file").write_text("something")
    return directory


def job(job_id: str) -> JobRow:
    return JobRow(
        id=job_id,
        name="line",
        spec={},
        options={},
        request_sha256="",
        status="queued",
        created_at=datetime.now(UTC),
    )


def dataset(content: str) -> DatasetRow:
    return DatasetRow(
        id=f"ds_{content}",
        name="d",
        sha256="",
        content=content,
        bytes=1,
        options={},
        schema={},
        created_at=datetime.now(UTC),
    )


def test_leftovers_go_to_the_trash_and_unfinished_files_are_deleted(
    jobs: JobStore,
    attempts: AttemptStore,
    settings: Settings,
    manifest: Manifest,
    cleanup: Cleanup,
) -> None:
    killed, job_id = submitted(jobs), submitted(jobs)
    claimed(attempts)
    attempts.succeed(claimed(attempts), manifest, f"{job_id}-1")
    kept = [put(settings.models_dir / f"{job_id}-1"), put(settings.checkpoints_dir / job_id)]
    leftover = put(settings.models_dir / f"{killed}-1")
    partial = put(settings.models_dir / f".{killed}-1.partial")
    assert cleanup.move_orphans() is None
    cleanup.delete_unfinished()
    assert all(path.exists() for path in kept)
    assert not leftover.exists()
    assert not partial.exists()
    [trashed] = settings.trash_dir.glob(f"*/models/{leftover.name}")
    assert (trashed / "a file").read_text() == "something"


@pytest.mark.parametrize(
    ("known", "unknown", "moved"),
    [(0, 1, False), (1, 1, True), (20, FEW, True), (20, FEW + 1, False), (130, FEW + 4, True)],
)
def test_only_few_unknown_artifacts_are_moved(
    known: int, unknown: int, moved: bool, database: Database, settings: Settings, cleanup: Cleanup
) -> None:
    with database.write() as session:
        session.add_all(dataset(put(settings.uploads_dir / f"a{n}").name) for n in range(known))
    lost = [put(settings.uploads_dir / f"b{n}") for n in range(unknown)]
    checkpoint = put(settings.checkpoints_dir / "job_a")
    with database.write() as session:
        session.add(job("job_a"))
    reason = cleanup.move_orphans()
    assert (reason is None) == moved
    assert [path.exists() for path in lost] == [not moved] * unknown
    assert len(list(settings.trash_dir.glob("*/datasets/*"))) == (unknown if moved else 0)
    assert checkpoint.exists()
    if not moved:
        noun = "data set" if known + unknown == 1 else "data sets"
        assert f"has no row for {unknown} of {known + unknown} {noun} in" in str(reason)
        assert "`epochd adopt`" in str(reason)


def test_model_of_a_job_that_has_not_started_is_unknown(
    database: Database, settings: Settings, cleanup: Cleanup
) -> None:
    with database.write() as session:
        session.add(job("job_a"))
    model = put(settings.models_dir / "job_a-1")
    assert "1 of 1 model in" in str(cleanup.move_orphans())
    assert model.exists()


def test_trash_is_deleted_after_keep_days(settings: Settings, cleanup: Cleanup) -> None:
    today = datetime.now(UTC).date()
    for age in (settings.keep_days, settings.keep_days + 1):
        put(settings.trash_dir / str(today - timedelta(days=age)))
    put(settings.trash_dir / "of the user")
    cleanup.delete_expired()
    kept = {path.name for path in settings.trash_dir.iterdir()}
    assert kept == {str(today - timedelta(days=settings.keep_days)), "of the user"}


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
    # Checkpoints newer than the end of the job that this database, an older one, knows.
    resumed = submitted(jobs)
    with database.write() as session:
        session.execute(update(JobRow).where(JobRow.id == resumed).values(finished_at=ended))
    newer = put(settings.checkpoints_dir / resumed)
    os.utime(settings.checkpoints_dir / old / "a file", (ended.timestamp(), ended.timestamp()))
    cleanup.delete_expired()
    assert newer.exists()
    for job_id, levels in (
        (old, ["epoch"]),
        (new, ["step", "epoch"]),
        (waiting, ["step", "epoch"]),
    ):
        assert [m.level for m in jobs.metrics(job_id, None, 10, 0).data] == levels
        assert (settings.checkpoints_dir / job_id).exists() == (job_id != old)
