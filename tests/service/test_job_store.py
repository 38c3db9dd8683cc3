"""The job's life, step by step, on a real SQLite file."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from ml import datasets, training
from ml.artifacts import Manifest, save_model
from ml.specs import TrainingSpec
from ml.training import Report
from service.database import Database
from service.errors import Conflict, NotFound
from service.jobs import Claim, JobStore, LostClaim
from service.registry import ModelRegistry
from service.schemas import JobError
from tests.conftest import LINE

SPEC = TrainingSpec.model_validate(LINE)
FIRST_EPOCH = Report("epoch", 1, 10, {"train_loss": 0.5})


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/epochd.db")
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def jobs(database: Database) -> JobStore:
    return JobStore(database)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    data = datasets.load(SPEC.dataset, SPEC.split, tmp_path)
    model = training.build(SPEC, data)
    return save_model(
        tmp_path / "model", model, SPEC, data.signature, {"test_r2": 0.9}, "0" * 64, CPU
    )


CPU = torch.device("cpu")


def claimed(jobs: JobStore) -> Claim:
    claim = jobs.claim()
    assert claim is not None
    return claim


def test_a_submitted_job_is_queued_with_its_defaults_filled_in(jobs: JobStore) -> None:
    job = jobs.fetch(jobs.submit(SPEC).id)
    assert (job.status, job.attempt, job.progress.epochs) == ("queued", 0, 200)
    assert job.spec == SPEC
    assert job.created_at.tzinfo is not None


def test_jobs_are_claimed_in_the_order_they_came(jobs: JobStore) -> None:
    submitted = [jobs.submit(SPEC).id for _ in range(5)]
    assert [claimed(jobs).job_id for _ in range(5)] == submitted
    assert jobs.claim() is None


def test_no_job_is_claimed_twice_by_claimers_at_once(jobs: JobStore) -> None:
    submitted = {jobs.submit(SPEC).id for _ in range(40)}
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: jobs.claim(), range(60)))
    taken = [claim.job_id for claim in claims if claim]
    assert len(taken) == 40
    assert set(taken) == submitted


def test_reports_become_metrics_and_progress(jobs: JobStore) -> None:
    job_id = jobs.submit(SPEC).id
    claim = claimed(jobs)
    jobs.begin(claim, "cpu", steps=2000)
    assert jobs.report(claim, [Report("step", 1, 5, {"loss": 0.7}), FIRST_EPOCH])
    job = jobs.fetch(job_id)
    assert job.metrics == {"loss": 0.7, "train_loss": 0.5}
    assert (job.progress.epoch, job.progress.step, job.progress.steps) == (1, 10, 2000)
    assert job.progress.eta_seconds is not None
    records = jobs.metrics(job_id, None, 10, 0)
    assert [(r.level, r.step, r.values) for r in records.data] == [
        ("step", 5, {"loss": 0.7}),
        ("epoch", 10, {"train_loss": 0.5}),
    ]


def test_metrics_page_by_level_and_id(jobs: JobStore) -> None:
    job_id = jobs.submit(SPEC).id
    claim = claimed(jobs)
    jobs.report(claim, [Report("step", 1, n, {"loss": float(n)}) for n in range(1, 8)])
    jobs.report(claim, [FIRST_EPOCH])
    first = jobs.metrics(job_id, "step", 4, 0)
    assert [r.step for r in first.data] == [1, 2, 3, 4]
    assert first.next is not None
    second = jobs.metrics(job_id, "step", 4, int(first.next))
    assert [r.step for r in second.data] == [5, 6, 7]
    assert second.next is None


def test_jobs_page_newest_first_and_filter(jobs: JobStore) -> None:
    ids = [jobs.submit(SPEC).id for _ in range(5)]
    jobs.cancel(ids[0])
    first = jobs.page(None, None, 2, None)
    assert [job.id for job in first.data] == [ids[4], ids[3]]
    second = jobs.page(None, None, 10, first.next)
    assert [job.id for job in second.data] == [ids[2], ids[1], ids[0]]
    assert second.next is None
    assert [job.id for job in jobs.page("cancelled", None, 10, None).data] == [ids[0]]
    assert jobs.page(None, "another", 10, None).data == []


def test_success_registers_the_model_with_the_next_version(
    jobs: JobStore, database: Database, manifest: Manifest
) -> None:
    registry = ModelRegistry(database)
    for version in (1, 2):
        job_id = jobs.submit(SPEC).id
        assert jobs.succeed(claimed(jobs), manifest, f"dir-{version}").version == version
        job = jobs.fetch(job_id)
        assert job.status == "succeeded"
        assert job.model is not None
        assert (job.model.name, job.model.version) == ("line", version)
        assert job.metrics["test_r2"] == 0.9
        assert registry.locate("line").directory == f"dir-{version}"
    assert registry.locate("line", 1).directory == "dir-1"
    assert [(m.name, m.latest, m.versions) for m in registry.names()] == [("line", 2, [1, 2])]
    assert registry.fetch("line", 2).lineage.job_id == job_id
    with pytest.raises(NotFound, match="no version 3"):
        registry.fetch("line", 3)
    with pytest.raises(NotFound, match="no model 'circle'"):
        registry.fetch("circle")


def test_a_queued_job_is_cancelled_at_once(jobs: JobStore) -> None:
    job = jobs.cancel(jobs.submit(SPEC).id)
    assert job.status == "cancelled"
    assert job.finished_at is not None
    assert jobs.claim() is None


def test_a_running_job_hears_of_its_cancellation_with_its_next_report(jobs: JobStore) -> None:
    job_id = jobs.submit(SPEC).id
    claim = claimed(jobs)
    assert jobs.report(claim, [])
    assert jobs.cancel(job_id).cancel_requested
    assert not jobs.report(claim, [])
    jobs.finish_cancelled(claim)
    assert jobs.fetch(job_id).status == "cancelled"


def test_an_ended_job_cannot_be_cancelled(jobs: JobStore) -> None:
    job_id = jobs.submit(SPEC).id
    jobs.cancel(job_id)
    with pytest.raises(Conflict, match="is cancelled"):
        jobs.cancel(job_id)


def test_a_failed_job_tells_why(jobs: JobStore) -> None:
    job_id = jobs.submit(SPEC).id
    jobs.fail(claimed(jobs), JobError(kind="diverged", message="nan at step 3"))
    job = jobs.fetch(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert (job.error.kind, job.error.message) == ("diverged", "nan at step 3")


def test_an_attempt_that_lost_its_job_can_write_nothing(jobs: JobStore, manifest: Manifest) -> None:
    job_id = jobs.submit(SPEC).id
    lost = claimed(jobs)
    jobs.report(lost, [FIRST_EPOCH])
    assert jobs.requeue_running() == 1
    current = claimed(jobs)
    assert (current.job_id, current.attempt) == (job_id, 2)
    before = jobs.fetch(job_id)
    for write in (
        lambda: jobs.begin(lost, "cpu", 1),
        lambda: jobs.report(lost, [FIRST_EPOCH]),
        lambda: jobs.succeed(lost, manifest, "dir"),
        lambda: jobs.fail(lost, JobError(kind="internal", message="")),
        lambda: jobs.finish_cancelled(lost),
    ):
        with pytest.raises(LostClaim):
            write()
    assert jobs.fetch(job_id) == before
    assert jobs.metrics(job_id, None, 10, 0).data == []


def test_requeueing_a_job_whose_cancellation_was_asked_for_ends_it(jobs: JobStore) -> None:
    job_id = jobs.submit(SPEC).id
    claimed(jobs)
    jobs.cancel(job_id)
    jobs.requeue_running()
    assert jobs.fetch(job_id).status == "cancelled"


def test_unknown_ids_are_not_found(jobs: JobStore) -> None:
    for question in (
        lambda: jobs.fetch("job_x"),
        lambda: jobs.cancel("job_x"),
        lambda: jobs.metrics("job_x", None, 1, 0),
        lambda: jobs.page(None, None, 1, "job_x"),
    ):
        with pytest.raises(NotFound, match="job_x"):
            question()


def test_migrating_again_changes_nothing(jobs: JobStore, database: Database) -> None:
    job_id = jobs.submit(SPEC).id
    database.migrate()
    assert jobs.fetch(job_id).status == "queued"


def test_the_migrations_make_the_tables_of_the_orm(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from service.tables import Table

    with database.read() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, Table.metadata) == []
