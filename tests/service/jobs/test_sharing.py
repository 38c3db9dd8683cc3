"""The queue and what owners have used, as the API shows them."""

from datetime import UTC, date, datetime, timedelta

import pytest

from service.access.caller import ANYBODY, Caller, Role
from service.jobs import use
from service.jobs.attempts import AttemptStore
from service.jobs.schemas import JobError
from service.jobs.sharing import Sharing
from service.jobs.store import JobStore
from service.settings import Settings
from service.storage.database import Database
from tests.service.conftest import claimed
from tests.service.jobs.test_attempts import set_row
from tests.service.jobs.test_fair_share import ANNA, BEN, submit

EVENING = datetime(2026, 11, 2, 23, 59, tzinfo=UTC)


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = EVENING

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(database: Database, settings: Settings, clock: Clock) -> AttemptStore:
    return AttemptStore(database, settings, clock)


@pytest.fixture
def sharing(database: Database, settings: Settings, clock: Clock) -> Sharing:
    return Sharing(database, settings, clock)


def run(attempts: AttemptStore, clock: Clock, seconds: float) -> str:
    """Claim the next job, and fail it after `seconds`; return its id."""
    claim = claimed(attempts)
    clock.now += timedelta(seconds=seconds)
    attempts.heartbeat(claim)
    attempts.fail(claim, JobError(kind="diverged", message="nan"))
    return claim.job_id


def test_seconds_count_on_their_days(
    jobs: JobStore, attempts: AttemptStore, sharing: Sharing, clock: Clock
) -> None:
    submit(jobs, ANNA)
    failed = run(attempts, clock, 90)
    jobs.delete(failed)
    submit(jobs, BEN)
    claimed(attempts)
    clock.now += timedelta(seconds=5)
    monday, tuesday = date(2026, 11, 2), date(2026, 11, 3)
    found = [(d.day, d.owner, d.device_seconds, d.jobs) for d in sharing.use(ANYBODY, 2)]
    assert found == [
        (tuesday, "anna", 30.0, 1),
        (tuesday, "ben", 5.0, 0),
        (monday, "anna", 60.0, 0),
    ]
    assert [d.day for d in sharing.use(ANYBODY, 1)] == [tuesday, tuesday]
    assert {d.owner for d in sharing.use(ANYBODY, 2, owner="ben")} == {"ben"}
    own = Caller(Role.MEMBER, "ben", sees_all=False)
    assert {d.owner for d in sharing.use(own, 2)} == {"ben"}
    assert len(sharing.use(ANNA, 2)) == 3


def test_time_without_a_service_is_not_used(
    jobs: JobStore, attempts: AttemptStore, sharing: Sharing, clock: Clock, settings: Settings
) -> None:
    submit(jobs, ANNA)
    claim = claimed(attempts)
    clock.now += timedelta(seconds=20)
    attempts.heartbeat(claim)
    clock.now += timedelta(days=3)
    attempts.expire_leases(JobError(kind="trainer_died", message="gone"), all_running=True)
    seconds = sum(day.device_seconds for day in sharing.use(ANYBODY, 10))
    assert seconds == 20 + settings.lease_seconds


def test_recent_use_is_a_sum_over_attempts(database: Database) -> None:
    def after(seconds: float) -> datetime:
        return EVENING + timedelta(seconds=seconds)

    with database.write() as session:
        use.record(session, "anna", after(0), after(10), 100.0, ends_job=True)
        use.record(session, "anna", after(110), after(120), 100.0, ends_job=True)
        once = use.recent(session, ["anna"], after(10), 100.0)
        assert set(once) == {"anna"}
        ten = 100.0 / 0.6931471805599453 * (1 - 2**-0.1)
        at = after(120)
        # Recorded late, an attempt counts as much as in time.
        use.record(session, "ben", after(110), after(120), 100.0, ends_job=True)
        use.record(session, "ben", after(0), after(10), 100.0, ends_job=True)
        found = use.recent(session, ["anna", "ben", None], at, 100.0)
    assert found["anna"] == pytest.approx(ten + ten * 2**-1.1)
    assert found["ben"] == pytest.approx(found["anna"])
    assert None not in found


def test_queue_is_in_the_order_of_starts(
    jobs: JobStore, attempts: AttemptStore, sharing: Sharing, clock: Clock, database: Database
) -> None:
    annas = [submit(jobs, ANNA) for _ in range(3)]
    bens = [submit(jobs, BEN, priority=p) for p in (0, 1)]
    later = submit(jobs, BEN, not_before="2026-12-01T00:00:00Z")
    page = sharing.queue(ANYBODY, 1, 4, 0)
    # Nothing is known of the length of these jobs: only the first one's start.
    expected = [annas[0], bens[1], annas[1], bens[0]]
    assert [(e.job, e.position) for e in page.data] == list(zip(expected, range(1, 5), strict=True))
    assert [e.expected_start for e in page.data] == [clock.now, None, None, None]
    assert page.next == "4"
    rest = sharing.queue(ANYBODY, 1, 4, 4)
    assert [(e.job, e.position) for e in rest.data] == [(annas[2], 5), (later, None)]
    assert rest.next is None
    held = rest.data[1].held
    assert held is not None
    assert (held.by, held.until) == ("not_before", datetime(2026, 12, 1, tzinfo=UTC))
    # Those that see only their own see the same places.
    own = sharing.queue(Caller(Role.MEMBER, "ben", sees_all=False), 1, 10, 0)
    assert [(e.job, e.position) for e in own.data] == [(bens[1], 2), (bens[0], 4), (later, None)]
    # Once a like job has succeeded, all starts are known.
    claim = claimed(attempts)
    set_row(database, claim.job_id, status="succeeded", device_seconds=30.0)
    starts = [entry.expected_start for entry in sharing.queue(ANYBODY, 1, 3, 0).data]
    assert starts == [clock.now + timedelta(seconds=30 * n) for n in range(3)]
    starts = [entry.expected_start for entry in sharing.queue(ANYBODY, 2, 3, 0).data]
    assert starts == [clock.now + timedelta(seconds=30 * n) for n in (0, 0, 1)]


def test_running_jobs_delay_those_that_wait(
    jobs: JobStore, attempts: AttemptStore, sharing: Sharing, clock: Clock, database: Database
) -> None:
    done, running, waiting = (submit(jobs, ANNA) for _ in range(3))
    claimed(attempts)
    set_row(database, done, status="succeeded", device_seconds=30.0)
    claimed(attempts)
    clock.now += timedelta(seconds=10)
    [entry] = sharing.queue(ANYBODY, 1, 10, 0).data
    assert entry.job == waiting
    assert entry.expected_start == clock.now + timedelta(seconds=20)
    # It takes longer than usual: it may end at any moment.
    clock.now += timedelta(seconds=100)
    assert sharing.queue(ANYBODY, 1, 10, 0).data[0].expected_start == clock.now
    # At its pace, it has half of its steps to go.
    real = datetime.now(UTC)
    set_row(database, running, step=50, steps=100, training_at=real - timedelta(seconds=10))
    start = sharing.queue(ANYBODY, 1, 10, 0).data[0].expected_start
    assert start is not None
    assert (start - clock.now).total_seconds() == pytest.approx(10, abs=2)
    # Of another kind of job, nothing is known.
    other = submit(jobs, BEN, epochs=7)
    entries = {entry.job: entry for entry in sharing.queue(ANYBODY, 1, 10, 0).data}
    assert entries[other].position == 1
    assert entries[waiting].expected_start is None


def test_queue_without_trainers_has_places_and_no_starts(jobs: JobStore, sharing: Sharing) -> None:
    ids = [submit(jobs, ANNA) for _ in range(3)]
    entries = sharing.queue(ANYBODY, 0, 10, 0).data
    assert [(e.job, e.position, e.expected_start) for e in entries] == [
        (job_id, place, None) for place, job_id in enumerate(ids, 1)
    ]
