"""Preemption: which job gives way, and what becomes of it, on a real SQLite file."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ml.artifacts import Manifest
from service.jobs.attempts import AttemptStore, Claim
from service.jobs.fair_share import Group
from service.jobs.preemption import least_deserving
from service.jobs.schemas import JobError
from service.jobs.store import JobStore
from service.jobs.turns import Rules, RunningJob, Turns
from service.settings import Settings
from service.settings.quotas import Quotas, parse_quotas
from service.storage.database import Database
from tests.service.conftest import claimed
from tests.service.jobs.test_fair_share import ANNA, BEN, ROOT, submit

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
RULES = Rules(3600.0, Quotas(), timedelta(seconds=60), 300.0)
ANNAS = RunningJob(
    "job_a",
    1,
    "anna",
    "member",
    standing=0,
    is_preemptible=True,
    requested_action=None,
    started_at=NOW - timedelta(seconds=400),
    training_at=NOW - timedelta(seconds=390),
)
BENS = Group("ben", "member", 0, 2)
TURNS = Turns(NOW, RULES, [BENS], [ANNAS], {"anna": 400.0})


def test_job_gives_way_to_an_owner_who_has_used_less() -> None:
    assert least_deserving(TURNS) == ANNAS


@pytest.mark.parametrize(
    "turns",
    [
        replace(TURNS, groups=[]),
        replace(TURNS, running=[replace(ANNAS, is_preemptible=False)]),
        replace(TURNS, running=[replace(ANNAS, requested_action="preempt")]),
        replace(TURNS, running=[replace(ANNAS, training_at=None)]),
        replace(TURNS, running=[replace(ANNAS, training_at=NOW - timedelta(seconds=59))]),
        replace(TURNS, recent={"anna": 300.0}),
        replace(TURNS, recent={"anna": 400.0, "ben": 100.0}),
        replace(TURNS, groups=[Group("anna", "member", 0, 2)]),
        replace(TURNS, groups=[replace(BENS, standing=1)]),
        replace(TURNS, rules=replace(RULES, quotas=Quotas(parse_quotas("ben: running=0")))),
    ],
    ids=[
        "nobody waits",
        "it is not preemptible",
        "a trainer is about to be free",
        "it loads its data",
        "it has just been started",
        "the surplus is the margin",
        "the other has used some too",
        "the waiting job is of the same owner",
        "an admin put the waiting job behind all others",
        "a quota holds the waiting job back",
    ],
)
def test_job_does_not_give_way(turns: Turns) -> None:
    assert least_deserving(turns) is None


def test_job_gives_way_to_an_admins_priority_whatever_was_used() -> None:
    first = Group("root", "admin", -1, 3)
    assert least_deserving(replace(TURNS, groups=[first], recent={"anna": 0.0})) == ANNAS


def test_job_of_the_owner_who_used_most_gives_way() -> None:
    carls = replace(ANNAS, id="job_c", owner="carl", started_at=NOW - timedelta(hours=1))
    recent = {"anna": 500.0, "carl": 600.0}
    assert least_deserving(replace(TURNS, running=[ANNAS, carls], recent=recent)) == carls
    behind = replace(ANNAS, id="job_r", owner="root", standing=5)
    order = replace(TURNS, running=[carls, behind], recent=recent | {"root": 0.0})
    assert least_deserving(order) == behind


@pytest.fixture
def attempts(database: Database, settings: Settings) -> AttemptStore:
    at_once = {"preempt_after_seconds": 0.0, "preempt_margin_seconds": 1.0}
    return AttemptStore(database, settings.model_copy(update=at_once))


def preempted(jobs: JobStore, attempts: AttemptStore, **options: object) -> tuple[Claim, str]:
    """Return the claim of a job that is asked to give way, and the job that waits."""
    submit(jobs, ANNA, preemptible=True, **options)
    claim = claimed(attempts)
    attempts.mark_started(claim, "cpu", "resident", 0, 2000)
    waiting = submit(jobs, BEN)
    assert attempts.preempt() == claim.job_id
    return claim, waiting


def test_preempted_job_is_queued_and_claimed_again_after_the_other(
    jobs: JobStore, attempts: AttemptStore
) -> None:
    claim, waiting = preempted(jobs, attempts, max_attempts=1)
    assert jobs.fetch(claim.job_id).requested_action == "preempt"
    assert attempts.heartbeat(claim) == "preempt"
    # One job gives way at a time, however often the scheduler looks.
    assert attempts.preempt() is None
    # It has as long as its step takes.
    assert attempts.overdue(claim, timedelta(0)) is None
    attempts.release(claim)
    job = jobs.fetch(claim.job_id)
    assert (job.status, job.requested_action, job.not_before) == ("queued", None, None)
    [attempt] = jobs.attempts(claim.job_id)
    assert attempt.outcome == "preempted"
    assert claimed(attempts).job_id == waiting
    assert claimed(attempts) == Claim(claim.job_id, 2)


def test_fold_of_a_cross_validation_does_not_start_the_time_anew(
    jobs: JobStore, database: Database, settings: Settings
) -> None:
    now = NOW
    attempts = AttemptStore(database, settings, lambda: now)
    submit(jobs, ANNA, preemptible=True)
    claim = claimed(attempts)
    attempts.mark_started(claim, "cpu", "resident", 0, 2000)
    now += timedelta(seconds=400)
    attempts.mark_started(claim, "cpu", "resident", 0, 2000)
    submit(jobs, BEN)
    assert attempts.preempt() == claim.job_id


def test_run_that_ends_before_it_gives_way_succeeds(
    jobs: JobStore, attempts: AttemptStore, manifest: Manifest
) -> None:
    claim, _ = preempted(jobs, attempts)
    assert attempts.succeed(claim, manifest, "dir") is not None
    assert jobs.fetch(claim.job_id).status == "succeeded"


def test_crash_while_it_gives_way_counts_as_any_other(
    jobs: JobStore, attempts: AttemptStore
) -> None:
    claim, _ = preempted(jobs, attempts, max_attempts=1)
    attempts.record_crash(claim, JobError(kind="trainer_died", message="gone"))
    assert jobs.fetch(claim.job_id).status == "failed"


@pytest.mark.parametrize(("verb", "status"), [("pause", "paused"), ("cancel", "cancelled")])
def test_request_of_a_user_takes_precedence(
    jobs: JobStore, attempts: AttemptStore, verb: str, status: str
) -> None:
    claim, _ = preempted(jobs, attempts)
    assert getattr(jobs, verb)(claim.job_id).requested_action == verb
    assert attempts.overdue(claim, timedelta(seconds=60)) is None
    assert attempts.overdue(claim, timedelta(seconds=-1)) is not None
    attempts.release(claim)
    assert jobs.fetch(claim.job_id).status == status


def test_request_of_a_user_is_not_replaced(jobs: JobStore, attempts: AttemptStore) -> None:
    submit(jobs, ANNA, preemptible=True)
    claim = claimed(attempts)
    attempts.mark_started(claim, "cpu", "resident", 0, 2000)
    jobs.pause(claim.job_id)
    submit(jobs, ROOT, priority=1)
    assert attempts.preempt() is None
    assert jobs.fetch(claim.job_id).requested_action == "pause"
