"""Jobs submitted, queried and controlled, on a real SQLite file."""

from collections.abc import Callable
from datetime import timedelta
from time import time

import pytest
from sqlalchemy import update
from ulid import ULID

from ml.specs import TrainingSpec
from ml.training.loop import Report
from service.errors import Conflict, NotFound
from service.jobs.attempts import AttemptStore, Claim
from service.jobs.events import NewEvent
from service.jobs.schemas import JobChange, JobError, JobOptions
from service.jobs.states import EDGES, ENDED, Status
from service.jobs.store import JobStore
from service.storage.database import Database
from service.storage.tables import EventRow, JobRow
from tests.conftest import LINE
from tests.service.conftest import claimed, submitted

SPEC = TrainingSpec.of(LINE)


def new_events(*reports: Report) -> list[NewEvent]:
    return [NewEvent.from_report(report) for report in reports]


def test_submitted_job_is_queued_with_defaults(jobs: JobStore) -> None:
    job = jobs.fetch(submitted(jobs, priority=5))
    assert (job.status, job.attempt, job.progress.epochs) == ("queued", 0, 200)
    assert TrainingSpec.model_validate(job.spec) == SPEC
    assert JobOptions.model_validate(job.options) == JobOptions(priority=5)
    assert job.created_at.tzinfo is not None


def test_idempotency_key_returns_the_same_job_for_equal_requests(jobs: JobStore) -> None:
    first, again = (jobs.submit(SPEC, JobOptions(), "key") for _ in range(2))
    assert first.job == again.job
    assert (first.replayed, again.replayed) == (False, True)
    assert jobs.submit(SPEC, JobOptions(), "another key").job.id != first.job.id
    other_spec = TrainingSpec.of(LINE | {"seed": 1})
    for other in ((other_spec, JobOptions()), (SPEC, JobOptions(priority=1))):
        with pytest.raises(Conflict, match="was used before for a different request"):
            jobs.submit(*other, "key")
    assert len(jobs.page((), None, 10, None).data) == 2


def test_metrics_page_by_level_and_id(jobs: JobStore, attempts: AttemptStore) -> None:
    job_id = submitted(jobs)
    claim = claimed(attempts)
    reports = [Report("step", 1, n, {"loss": float(n)}) for n in range(1, 8)]
    attempts.heartbeat(claim, new_events(*reports, Report("epoch", 1, 7, {"train_loss": 4.0})))
    first = jobs.metrics(job_id, "step", 4, 0)
    assert [r.step for r in first.data] == [1, 2, 3, 4]
    assert first.next is not None
    second = jobs.metrics(job_id, "step", 4, int(first.next))
    assert [r.step for r in second.data] == [5, 6, 7]
    assert second.next is None
    assert len(jobs.metrics(job_id, None, 10, 0).data) == 8


def test_logs_are_lines(jobs: JobStore, attempts: AttemptStore) -> None:
    job_id = submitted(jobs)
    lines = [NewEvent("log", {"level": "info", "message": f"line {n}"}) for n in range(3)]
    attempts.heartbeat(claimed(attempts), lines)
    page = jobs.logs(job_id, 2, 0)
    assert [(line.level, line.message) for line in page.data] == [
        ("info", "line 0"),
        ("info", "line 1"),
    ]
    assert page.next is not None
    assert [line.message for line in jobs.logs(job_id, 2, int(page.next)).data] == ["line 2"]


def test_jobs_page_newest_first_and_filter(jobs: JobStore) -> None:
    ids = [submitted(jobs) for _ in range(5)]
    jobs.cancel(ids[0])
    first = jobs.page((), None, 2, None)
    assert [job.id for job in first.data] == [ids[4], ids[3]]
    second = jobs.page((), None, 10, first.next)
    assert [job.id for job in second.data] == [ids[2], ids[1], ids[0]]
    assert second.next is None
    assert [job.id for job in jobs.page(["cancelled"], None, 10, None).data] == [ids[0]]
    assert jobs.page((), "another", 10, None).data == []


def test_events_cover_the_life_of_a_job(jobs: JobStore, attempts: AttemptStore) -> None:
    job_id = submitted(jobs)
    attempts.heartbeat(claimed(attempts), new_events(Report("epoch", 1, 10, {"train_loss": 0.5})))
    jobs.cancel(job_id)
    attempts.release(Claim(job_id, 1))
    first = jobs.events(job_id, 0, 2)
    assert not first.over
    rest = jobs.events(job_id, first.events[-1].id, 10)
    assert rest.over
    assert [event.kind for event in first.events + rest.events] == [
        "status",
        "status",
        "epoch",
        "status",
    ]
    assert rest.events[-1].data == {"status": "cancelled", "attempt": 1}


# Steps that bring a job into each status.
WAYS: dict[Status, Callable[[JobStore, AttemptStore, str], object]] = {
    "queued": lambda jobs, attempts, job_id: None,
    "running": lambda jobs, attempts, job_id: claimed(attempts),
    "paused": lambda jobs, attempts, job_id: jobs.pause(job_id),
    "failed": lambda jobs, attempts, job_id: attempts.fail(
        claimed(attempts), JobError(kind="internal", message="")
    ),
    "cancelled": lambda jobs, attempts, job_id: jobs.cancel(job_id),
}


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "retry"])
@pytest.mark.parametrize("status", WAYS)
def test_allowed_actions_match_the_state_table(
    jobs: JobStore, attempts: AttemptStore, status: Status, verb: str
) -> None:
    job_id = submitted(jobs)
    WAYS[status](jobs, attempts, job_id)
    before = jobs.fetch(job_id)
    assert (before.finished_at is not None) == (status in ENDED)
    target = EDGES[verb].get(status)  # type: ignore[call-overload]
    if target is None:
        with pytest.raises(Conflict, match=f"is {status}; {verb} requires a"):
            getattr(jobs, verb)(job_id)
        assert jobs.fetch(job_id) == before
    elif status == "running":
        # The attempt performs the action.
        assert getattr(jobs, verb)(job_id).requested_action == verb
        assert jobs.fetch(job_id).status == "running"
        attempts.release(Claim(job_id, 1))
        assert jobs.fetch(job_id).status == target
    else:
        job = getattr(jobs, verb)(job_id)
        assert job.status == target
        assert (job.finished_at is not None) == (target in ENDED)


def test_cancellation_cannot_be_overridden(jobs: JobStore, attempts: AttemptStore) -> None:
    job_id = submitted(jobs)
    claim = claimed(attempts)
    assert jobs.pause(job_id).requested_action == "pause"
    assert jobs.cancel(job_id).requested_action == "cancel"
    with pytest.raises(Conflict, match="is running and being cancelled"):
        jobs.pause(job_id)
    assert attempts.heartbeat(claim) == "cancel"


def test_resume_takes_back_a_pause_that_was_not_performed(
    jobs: JobStore, attempts: AttemptStore
) -> None:
    job_id = submitted(jobs)
    claim = claimed(attempts)
    jobs.pause(job_id)
    job = jobs.resume(job_id)
    assert (job.status, job.requested_action) == ("running", None)
    assert attempts.heartbeat(claim) is None
    assert attempts.overdue(claim, timedelta(0)) is None
    with pytest.raises(Conflict, match="is running; resume requires a paused job"):
        jobs.resume(job_id)
    # An attempt that has seen the pause before gives the job back.
    attempts.release(claim)
    assert jobs.fetch(job_id).status == "queued"


def test_resume_does_not_take_back_a_cancellation(jobs: JobStore, attempts: AttemptStore) -> None:
    job_id = submitted(jobs)
    claim = claimed(attempts)
    jobs.cancel(job_id)
    with pytest.raises(Conflict, match="is running and being cancelled; resume requires"):
        jobs.resume(job_id)
    assert attempts.heartbeat(claim) == "cancel"


def test_retried_job_gets_all_its_attempts_again(jobs: JobStore, attempts: AttemptStore) -> None:
    job_id = submitted(jobs, max_attempts=1)
    attempts.record_crash(claimed(attempts), JobError(kind="trainer_died", message="gone"))
    failed = jobs.fetch(job_id)
    assert failed.status == "failed"
    assert failed.error
    assert failed.error.message == "gone"
    assert jobs.retry(job_id).status == "queued"
    assert claimed(attempts).attempt == 2
    assert jobs.fetch(job_id).error is None


def test_deleting_a_job_deletes_its_history(
    jobs: JobStore, attempts: AttemptStore, database: Database
) -> None:
    job_id = submitted(jobs)
    claim = claimed(attempts)
    with pytest.raises(Conflict, match="is running; cancel it first"):
        jobs.delete(job_id)
    attempts.fail(claim, JobError(kind="internal", message=""))
    jobs.delete(job_id)
    with pytest.raises(NotFound):
        jobs.fetch(job_id)
    with database.read() as session:
        assert session.query(EventRow).count() == 0


def test_a_page_goes_on_after_a_deleted_job(jobs: JobStore) -> None:
    ids = [submitted(jobs) for _ in range(4)]
    after = jobs.page((), None, 2, None).next
    assert after == ids[2]
    for job_id in ids[1:3]:
        jobs.cancel(job_id)
        jobs.delete(job_id)
    assert [job.id for job in jobs.page((), None, 2, after).data] == [ids[0]]
    never = f"job_{ULID.from_timestamp(time())}"
    assert [job.id for job in jobs.page((), None, 9, never).data] == [ids[3], ids[0]]
    assert jobs.page((), None, 9, f"job_{ULID.from_timestamp(0)}").data == []


def test_pages_may_have_jobs_of_several_statuses(jobs: JobStore) -> None:
    ids = [submitted(jobs) for _ in range(3)]
    jobs.cancel(ids[0])
    jobs.pause(ids[1])
    found = jobs.page(["cancelled", "paused"], None, 9, None).data
    assert [job.id for job in found] == [ids[1], ids[0]]


def test_a_new_priority_changes_the_place_in_the_queue(
    jobs: JobStore, attempts: AttemptStore
) -> None:
    first, second = submitted(jobs), submitted(jobs)
    changed = jobs.change(second, JobChange(priority=1))
    assert (changed.options["priority"], changed.name) == (1, "line")
    assert claimed(attempts).job_id == second
    # A running job keeps its name; its priority counts when it is queued again.
    with pytest.raises(Conflict, match="is running; pause it"):
        jobs.change(second, JobChange(name="other"))
    assert jobs.change(second, JobChange(name="line", priority=-1)).options["priority"] == -1
    renamed = jobs.change(first, JobChange(name="other"))
    assert (renamed.name, renamed.spec["name"], renamed.options["priority"]) == (
        "other",
        "other",
        0,
    )
    assert attempts.load_work(claimed(attempts)).spec.name == "other"


def test_a_job_that_has_succeeded_does_not_change(jobs: JobStore, database: Database) -> None:
    job_id = submitted(jobs)
    with database.write() as session:
        session.execute(update(JobRow).values(status="succeeded"))
    for wanted in (JobChange(priority=1), JobChange(name="other")):
        with pytest.raises(Conflict, match="has succeeded"):
            jobs.change(job_id, wanted)


def test_unknown_ids_are_not_found(jobs: JobStore) -> None:
    for question in (
        lambda: jobs.fetch("job_x"),
        lambda: jobs.cancel("job_x"),
        lambda: jobs.delete("job_x"),
        lambda: jobs.metrics("job_x", None, 1, 0),
        lambda: jobs.logs("job_x", 1, 0),
        lambda: jobs.events("job_x", 0, 1),
        lambda: jobs.attempts("job_x"),
        lambda: jobs.last_event("job_x"),
        lambda: jobs.change("job_x", JobChange(priority=1)),
    ):
        with pytest.raises(NotFound, match="job_x"):
            question()
