"""Attempts at jobs, claimed, run and ended on a real SQLite file."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from ml.artifacts import Manifest
from ml.datasets.uploads import NO_UPLOADS
from ml.errors import Invalid
from ml.ingest.warning import DataWarning
from ml.specs import TrainingSpec, resolve
from ml.training.loop import Report
from service.errors import NotFound
from service.jobs.attempts import AttemptStore, Claim, LeaseLost
from service.jobs.events import NewEvent
from service.jobs.failures import LEASE_EXPIRED
from service.jobs.schemas import JobError, JobRequest
from service.jobs.store import JobStore
from service.models.registry import ModelRegistry
from service.storage.database import Database
from service.storage.tables import JobRow
from tests.conftest import LINE
from tests.service.conftest import claimed, outdated, submitted

FIRST_EPOCH = NewEvent.from_report(Report("epoch", 1, 10, {"train_loss": 0.5}))
GONE = JobError(kind="trainer_died", message="gone")
NOW = timedelta(0)
EMPTY = DataWarning(column="y", kind="empty", message="'y' has no value")


def set_row(database: Database, job_id: str, **values: object) -> None:
    with database.write() as session:
        session.execute(update(JobRow).where(JobRow.id == job_id).values(**values))


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def test_jobs_are_claimed_in_order_of_submission(jobs: JobStore, attempts: AttemptStore) -> None:
    ids = [submitted(jobs) for _ in range(5)]
    assert [claimed(attempts).job_id for _ in range(5)] == ids
    assert attempts.claim("a trainer") is None


def test_highest_priority_is_claimed_first(jobs: JobStore, attempts: AttemptStore) -> None:
    low, middle, high, later = (submitted(jobs, priority=p) for p in (-1, 0, 7, 7))
    assert [claimed(attempts).job_id for _ in range(4)] == [high, later, middle, low]


def test_job_is_not_claimed_before_it_is_due(
    jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    job_id = submitted(jobs, not_before=tomorrow)
    assert attempts.claim("a trainer") is None
    set_row(database, job_id, not_before=ago(1))
    assert claimed(attempts).job_id == job_id


def test_concurrent_claims_never_share_a_job(jobs: JobStore, attempts: AttemptStore) -> None:
    ids = {submitted(jobs) for _ in range(40)}
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda n: attempts.claim(f"trainer {n}"), range(60)))
    taken = [claim.job_id for claim in claims if claim]
    assert len(taken) == 40
    assert set(taken) == ids


def test_warnings_of_an_attempt_are_added_once(jobs: JobStore, attempts: AttemptStore) -> None:
    request = JobRequest.model_validate(LINE)
    spec = resolve(request.spec, NO_UPLOADS)
    held_out = DataWarning(column=None, kind="held_out", message="80 of 100 rows train")
    job_id = jobs.submit(spec, request.options, warnings=[held_out]).job.id
    assert jobs.fetch(job_id).warnings == [held_out]
    claim = claimed(attempts)
    assert attempts.load_work(claim).warnings == [held_out]
    found = [DataWarning(column="x", kind="constant", message="'x' is 5"), EMPTY]
    for _ in range(2):
        attempts.mark_started(claim, "cpu", "resident", 0, 2000, found)
        assert jobs.fetch(job_id).warnings == [held_out, *found]
    assert attempts.load_work(claim).warnings == [held_out, *found]


def test_reports_become_metrics_and_progress(jobs: JobStore, attempts: AttemptStore) -> None:
    job_id = submitted(jobs)
    claim = claimed(attempts)
    attempts.mark_started(claim, "cpu", "resident", 0, steps=2000)
    step = NewEvent.from_report(Report("step", 1, 5, {"loss": 0.7}))
    assert attempts.heartbeat(claim, [step, FIRST_EPOCH]) is None
    job = jobs.fetch(job_id)
    assert job.metrics == {"loss": 0.7, "train_loss": 0.5}
    assert (job.progress.epoch, job.progress.step, job.progress.steps) == (1, 10, 2000)
    assert job.progress.eta_seconds is not None
    records = jobs.metrics(job_id, None, 10, 0)
    assert [(r.level, r.step, r.values) for r in records.data] == [
        ("step", 5, {"loss": 0.7}),
        ("epoch", 10, {"train_loss": 0.5}),
    ]


def test_existing_metrics_are_not_overwritten(jobs: JobStore, attempts: AttemptStore) -> None:
    job_id = submitted(jobs)
    attempts.heartbeat(claimed(attempts), [FIRST_EPOCH])
    before = jobs.metrics(job_id, None, 10, 0)
    attempts.expire_leases(GONE, all_running=True)
    jobs.cancel(job_id)
    jobs.retry(job_id)
    attempts.heartbeat(claimed(attempts), [FIRST_EPOCH])
    assert jobs.metrics(job_id, None, 10, 0) == before


def test_success_registers_the_model_with_the_next_version(
    jobs: JobStore, attempts: AttemptStore, registry: ModelRegistry, manifest: Manifest
) -> None:
    for version in (1, 2):
        job_id = submitted(jobs)
        ref = attempts.succeed(claimed(attempts), manifest, f"dir-{version}")
        assert ref.version == version
        job = jobs.fetch(job_id)
        assert job.status == "succeeded"
        assert job.model == ref
        assert job.metrics["test_r2"] == 0.9
        assert registry.fetch("line").version == version
    assert registry.snapshot()["line"].directories == {1: "dir-1", 2: "dir-2"}
    assert [(m.name, m.latest, m.versions) for m in registry.names()] == [("line", 2, [1, 2])]
    assert registry.fetch("line", 2).lineage.job_id == job_id
    with pytest.raises(NotFound, match="no version 3"):
        registry.fetch("line", 3)
    with pytest.raises(NotFound, match="no model 'circle'"):
        registry.fetch("circle")


def test_heartbeat_returns_the_requested_cancellation(
    jobs: JobStore, attempts: AttemptStore
) -> None:
    job_id = submitted(jobs)
    claim = claimed(attempts)
    assert attempts.heartbeat(claim) is None
    jobs.cancel(job_id)
    assert attempts.heartbeat(claim) == "cancel"
    attempts.release(claim)
    assert jobs.fetch(job_id).status == "cancelled"


def test_failed_job_has_its_error_and_is_not_retried(
    jobs: JobStore, attempts: AttemptStore
) -> None:
    job_id = submitted(jobs)
    error = JobError(kind="diverged", message="nan at step 3")
    attempts.fail(claimed(attempts), error)
    job = jobs.fetch(job_id)
    assert (job.status, job.error) == ("failed", error)
    assert attempts.claim("a trainer") is None


def test_crashed_job_is_retried_with_backoff(
    jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    job_id = submitted(jobs, max_attempts=3)
    for crash in (1, 2):
        start = datetime.now(UTC)
        attempts.record_crash(claimed(attempts), GONE)
        job = jobs.fetch(job_id)
        assert job.status == "queued"
        assert job.not_before is not None
        assert job.not_before - start >= timedelta(seconds=crash)
        assert attempts.claim("a trainer") is None
        set_row(database, job_id, not_before=None)
    attempts.record_crash(claimed(attempts), GONE)
    job = jobs.fetch(job_id)
    assert (job.status, job.attempt, job.error) == ("failed", 3, GONE)
    assert [attempt.outcome for attempt in jobs.attempts(job_id)] == ["trainer_died"] * 3


def test_crash_performs_the_requested_action(jobs: JobStore, attempts: AttemptStore) -> None:
    cancelled, paused = submitted(jobs), submitted(jobs)
    claims = [claimed(attempts), claimed(attempts)]
    jobs.cancel(cancelled)
    jobs.pause(paused)
    for claim in claims:
        attempts.record_crash(claim, GONE)
    assert jobs.fetch(cancelled).status == "cancelled"
    assert jobs.fetch(paused).status == "paused"


@pytest.mark.parametrize(("action", "status"), [("cancel", "cancelled"), ("pause", "paused")])
def test_request_acknowledged_before_the_end_takes_precedence(
    jobs: JobStore,
    attempts: AttemptStore,
    registry: ModelRegistry,
    manifest: Manifest,
    action: str,
    status: str,
) -> None:
    job_id = submitted(jobs)
    claim = claimed(attempts)
    assert getattr(jobs, action)(job_id).requested_action == action
    before = jobs.fetch(job_id)
    assert attempts.succeed(claim, manifest, "dir") is None
    assert jobs.fetch(job_id) == before
    attempts.release(claim)
    job = jobs.fetch(job_id)
    assert (job.status, job.model, job.requested_action) == (status, None, None)
    assert registry.names() == []


def test_failure_of_a_job_that_is_being_cancelled_cancels_it(
    jobs: JobStore, attempts: AttemptStore
) -> None:
    error = JobError(kind="diverged", message="nan at step 3")
    ends = []
    for ask in (jobs.cancel, jobs.pause):
        job_id = submitted(jobs)
        claim = claimed(attempts)
        ask(job_id)
        attempts.fail(claim, error)
        [attempt] = jobs.attempts(job_id)
        assert attempt.outcome == "diverged"
        ends.append((jobs.fetch(job_id).status, jobs.fetch(job_id).error))
    assert ends == [("cancelled", None), ("failed", error)]


def test_job_has_the_best_epoch_of_its_run(jobs: JobStore, attempts: AttemptStore) -> None:
    job_id = submitted(jobs)
    claim = claimed(attempts)
    assert jobs.fetch(job_id).best_epoch is None
    for epoch, best in ((1, 1), (2, 1), (3, 3)):
        report = Report("epoch", epoch, 10 * epoch, {"train_loss": 0.5}, best_epoch=best)
        step = Report("step", epoch, 10 * epoch, {"loss": 0.5})
        attempts.heartbeat(claim, [NewEvent.from_report(report), NewEvent.from_report(step)])
        assert jobs.fetch(job_id).best_epoch == best


def test_only_expired_leases_are_revoked(
    jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    silent, alive = submitted(jobs), submitted(jobs)
    claimed(attempts)
    claim = claimed(attempts)
    for job_id in (silent, alive):
        set_row(database, job_id, lease_expires_at=ago(1))
    attempts.heartbeat(claim)
    assert attempts.expire_leases(GONE) == 1
    assert jobs.fetch(silent).status == "queued"
    assert jobs.fetch(alive).status == "running"


def test_attempt_that_lost_its_lease_cannot_write(
    jobs: JobStore,
    attempts: AttemptStore,
    database: Database,
    registry: ModelRegistry,
    manifest: Manifest,
) -> None:
    job_id = submitted(jobs)
    lost = claimed(attempts)
    assert attempts.expire_leases(GONE, all_running=True) == 1
    set_row(database, job_id, not_before=None)
    current = claimed(attempts)
    assert current == Claim(job_id, 2)
    before = jobs.fetch(job_id), jobs.events(job_id, 0, 100), jobs.attempts(job_id)
    writes: list[Callable[[], object]] = [
        lambda: attempts.mark_started(lost, "cpu", "resident", 0, 1),
        lambda: attempts.heartbeat(lost, [FIRST_EPOCH]),
        lambda: attempts.succeed(lost, manifest, "dir"),
        lambda: attempts.fail(lost, GONE),
        lambda: attempts.record_crash(lost, GONE),
        lambda: attempts.release(lost),
        lambda: attempts.load_work(lost),
        lambda: attempts.overdue(lost, NOW),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    assert (jobs.fetch(job_id), jobs.events(job_id, 0, 100), jobs.attempts(job_id)) == before
    assert registry.names() == []


def test_attempt_ignoring_the_requested_action_is_overdue(
    jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    job_id = submitted(jobs)
    claim = claimed(attempts)
    assert attempts.overdue(claim, NOW) is None
    jobs.cancel(job_id)
    assert attempts.overdue(claim, timedelta(seconds=60)) is None
    set_row(database, job_id, requested_at=ago(61))
    error = attempts.overdue(claim, timedelta(seconds=60))
    assert error is not None
    assert error.kind == "trainer_died"


def test_attempt_is_overdue_after_its_lease_even_if_the_database_is_locked(
    jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    job_id = submitted(jobs)
    claim = claimed(attempts)
    set_row(database, job_id, lease_expires_at=ago(1))
    with database.write():
        assert attempts.overdue(claim, timedelta(seconds=60)) == LEASE_EXPIRED


def test_attempt_over_its_time_limit_is_overdue_and_not_retried(
    jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    job_id = submitted(jobs, timeout_seconds=30)
    claim = claimed(attempts)
    set_row(database, job_id, started_at=ago(50))
    assert attempts.overdue(claim, timedelta(seconds=30)) is None
    error = attempts.overdue(claim, timedelta(seconds=10))
    assert error is not None
    assert error.kind == "timeout"
    attempts.record_crash(claim, error)
    job = jobs.fetch(job_id)
    assert (job.status, job.error) == ("failed", error)


def test_job_stored_under_old_rules_can_be_ended(
    jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    job_id = submitted(jobs, max_attempts=1)
    spec = outdated(jobs.fetch(job_id).spec)
    options = {"max_attempts": 1, "timeout_seconds": -1.0, "of_an_earlier_version": True}
    set_row(database, job_id, spec=spec, options=options)
    claim = claimed(attempts)
    with pytest.raises(Invalid) as error:
        attempts.load_work(claim)
    assert error.value.loc == ("model", "linear", "bias")
    set_row(database, job_id, spec=TrainingSpec.of(LINE).model_dump(mode="json"))
    with pytest.raises(Invalid) as error:
        attempts.load_work(claim)
    assert error.value.loc == ("timeout_seconds",)
    set_row(database, job_id, started_at=ago(10))
    overdue = attempts.overdue(claim, timedelta(seconds=1))
    assert overdue is not None
    assert overdue.kind == "timeout"
    attempts.record_crash(claim, GONE)
    assert jobs.fetch(job_id).status == "failed"
