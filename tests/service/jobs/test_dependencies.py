"""Jobs that come after others, on a real SQLite file."""

from itertools import pairwise

import pytest
from sqlalchemy import event

from ml.artifacts import Manifest
from service.access.caller import ANYBODY, Caller, Role
from service.errors import Conflict, Unprocessable
from service.jobs.attempts import AttemptStore
from service.jobs.schemas import JobError
from service.jobs.sharing import Sharing
from service.jobs.store import JobStore
from service.settings import Settings
from service.storage.database import Database
from tests.service.conftest import claimed
from tests.service.jobs.test_fair_share import ANNA, BEN, submit

DIVERGED = JobError(kind="diverged", message="nan")


def chain(jobs: JobStore, length: int) -> list[str]:
    """Return jobs of which each comes after the one before."""
    ids: list[str] = []
    for _ in range(length):
        ids.append(submit(jobs, ANNA, after=ids[-1:]))
    return ids


def reason(jobs: JobStore, job_id: str) -> str:
    """Return the message of a job that failed because an earlier one did not succeed."""
    job = jobs.fetch(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.kind == "dependency_failed"
    return job.error.message


def test_job_runs_once_all_before_it_have_succeeded(
    jobs: JobStore, attempts: AttemptStore, manifest: Manifest
) -> None:
    first, second = submit(jobs, ANNA), submit(jobs, BEN)
    last = submit(jobs, ANNA, after=[first, second, first], priority=9)
    assert jobs.fetch(last).options["after"] == [first, second]
    claims = [claimed(attempts) for _ in range(2)]
    for number, claim in enumerate(claims):
        assert attempts.claim("a trainer") is None
        attempts.succeed(claim, manifest, f"dir-{number}")
    assert claimed(attempts).job_id == last
    # Those that have succeeded already are not waited for.
    at_once = submit(jobs, BEN, after=[first])
    assert claimed(attempts).job_id == at_once


@pytest.mark.parametrize("end", ["fail", "cancel", "cancel a running one", "delete"])
def test_all_that_come_after_a_job_that_did_not_succeed_fail(
    jobs: JobStore, attempts: AttemptStore, end: str
) -> None:
    first, second, third = chain(jobs, 3)
    other = submit(jobs, BEN)
    jobs.pause(third)
    if end == "delete":
        jobs.delete(first)
    elif end == "cancel":
        jobs.cancel(first)
    else:
        claim = claimed(attempts)
        if end == "fail":
            attempts.fail(claim, DIVERGED)
        else:
            jobs.cancel(first)
            attempts.release(claim)
    word = {"fail": "failed", "delete": "was deleted"}.get(end, "was cancelled")
    message = f"the job {first}, which must succeed before this one, {word}"
    assert reason(jobs, second) == message
    assert reason(jobs, third).startswith(f"the job {second}, ")
    last = jobs.events(second, 0, 100).events[-1].data
    assert (last["status"], last["error"]["kind"]) == ("failed", "dependency_failed")
    assert jobs.fetch(other).status == "queued"


def test_a_long_chain_fails_as_one(jobs: JobStore, database: Database) -> None:
    ids = chain(jobs, 120)
    statements: list[str] = []
    with database.write() as session:
        # All others wait to write meanwhile, so the number of statements must not grow with it.
        engine = session.get_bind()
        event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    jobs.cancel(ids[0])
    assert jobs.counts()["failed"] == 119
    assert 0 < len(statements) < 20
    for earlier, later in pairwise(ids):
        assert f"the job {earlier}, which must" in reason(jobs, later)
        assert [one.data["status"] for one in jobs.events(later, 0, 10).events] == [
            "queued",
            "failed",
        ]


def test_a_job_that_waits_for_several_names_one_that_did_not_succeed(jobs: JobStore) -> None:
    other, first = submit(jobs, BEN), submit(jobs, ANNA)
    second = submit(jobs, ANNA, after=[other, first])
    third = submit(jobs, ANNA, after=[other, second, first])
    jobs.cancel(first)
    for job_id in (second, third):
        assert reason(jobs, job_id).startswith(f"the job {first}, which must succeed before this")
        assert reason(jobs, job_id).endswith("was cancelled")
    assert jobs.fetch(other).status == "queued"


def test_submission_checks_the_jobs_before(jobs: JobStore, attempts: AttemptStore) -> None:
    first = submit(jobs, ANNA)
    with pytest.raises(Unprocessable) as error:
        submit(jobs, ANNA, after=[first, "job_x"])
    assert error.value.errors == [(("body", "after", 1), "there is no job 'job_x'")]
    # To those that see only their own, others' jobs do not exist.
    with pytest.raises(Unprocessable, match="there is no job"):
        submit(jobs, Caller(Role.MEMBER, "ben", sees_all=False), after=[first])
    attempts.fail(claimed(attempts), DIVERGED)
    with pytest.raises(Conflict, match=f"job {first} has failed; retry it first, or leave it out"):
        submit(jobs, ANNA, after=[first])
    assert jobs.counts()["queued"] == 0


def test_retry_of_the_first_does_not_revive_the_second(
    jobs: JobStore, attempts: AttemptStore, manifest: Manifest
) -> None:
    first, second = chain(jobs, 2)
    attempts.fail(claimed(attempts), DIVERGED)
    with pytest.raises(Conflict, match=f"job {first}, which must succeed before {second}, has"):
        jobs.retry(second)
    assert jobs.fetch(second).status == "failed"
    jobs.retry(first)
    assert jobs.fetch(second).status == "failed"
    assert jobs.retry(second).status == "queued"
    claim = claimed(attempts)
    assert claim.job_id == first
    assert attempts.claim("a trainer") is None
    attempts.succeed(claim, manifest, "dir")
    assert claimed(attempts).job_id == second


def test_retry_waits_only_for_those_that_have_not_succeeded(
    jobs: JobStore, attempts: AttemptStore, manifest: Manifest
) -> None:
    first, second = chain(jobs, 2)
    attempts.succeed(claimed(attempts), manifest, "dir")
    attempts.fail(claimed(attempts), DIVERGED)
    jobs.delete(first)
    jobs.retry(second)
    assert claimed(attempts).job_id == second


def test_retry_names_a_job_that_was_deleted(jobs: JobStore) -> None:
    first, second = chain(jobs, 2)
    jobs.delete(first)
    with pytest.raises(Conflict, match="was deleted; retry it first, or submit this job anew"):
        jobs.retry(second)


def test_queue_says_what_a_job_waits_for(
    jobs: JobStore, database: Database, settings: Settings
) -> None:
    first, second = chain(jobs, 2)
    entries = Sharing(database, settings).queue(ANYBODY, 1, 10, 0).data
    assert [(entry.job, entry.position) for entry in entries] == [(first, 1), (second, None)]
    held = entries[1].held
    assert held is not None
    assert (held.by, held.detail) == ("after", f"waits for {first} to succeed")
