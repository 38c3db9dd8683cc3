"""Owners take turns: on the real stores, with a clock of its own."""

from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.sharing import START, PastJob, Replay
from ml.datasets.uploads import NO_UPLOADS
from ml.specs import resolve
from service.access.caller import ANYBODY, Caller, Role
from service.jobs import use
from service.jobs.attempts import AttemptStore
from service.jobs.fair_share import Group, faded, in_turn, weighted
from service.jobs.schemas import JobRequest
from service.jobs.store import JobStore
from service.settings import Settings
from service.storage.database import Database
from tests.conftest import LINE
from tests.service.conftest import claimed

ANNA, BEN, CARL = (Caller(Role.MEMBER, name) for name in ("anna", "ben", "carl"))
ROOT = Caller(Role.ADMIN, "root")


def submit(jobs: JobStore, caller: Caller, **options: object) -> str:
    request = JobRequest.model_validate(LINE | {"name": caller.owner or "line"} | options)
    return jobs.submit(resolve(request.spec, NO_UPLOADS), request.options, caller=caller).job.id


def test_device_seconds_fade_by_half_in_a_half_life() -> None:
    later = START + timedelta(hours=1)
    assert faded(100.0, 3600.0, 3600.0) == 50.0
    assert faded(100.0, 1e9, 1.0) == 0.0
    # Of an hour's seconds, the last counts whole and the first half.
    assert weighted(START, later, 3600.0) == pytest.approx(3600 / 2 / 0.6931471805599453)
    short = weighted(START, START + timedelta(seconds=1), 3600.0)
    assert short == pytest.approx(1.0, rel=1e-3)
    assert weighted(later, START, 3600.0) == 0.0
    # In 31 years, nothing fades.
    assert weighted(START, later, 1e9) == pytest.approx(3600.0, rel=1e-5)
    assert weighted(START, START + timedelta(milliseconds=1), 1e9) == pytest.approx(1e-3, rel=1e-9)


def test_turns_follow_standing_then_use_then_submission() -> None:
    groups = [
        Group("anna", "member", 0, 1),
        Group("ben", "member", 0, 2),
        Group("carl", "member", 0, 3),
        Group("root", "admin", -5, 4),
        Group("root", "admin", 5, 5),
    ]
    order = in_turn(groups, {"anna": 9.0, "root": 1e6})
    assert [group.first for group in order] == [4, 2, 3, 1, 5]


def test_a_pupil_with_many_jobs_does_not_stop_the_others(
    jobs: JobStore, attempts: AttemptStore
) -> None:
    many = [submit(jobs, ANNA) for _ in range(5)]
    bens, carls = submit(jobs, BEN), submit(jobs, CARL)
    # Attempts that run count, so an owner whose job has just started is not also next.
    assert [claimed(attempts).job_id for _ in range(4)] == [many[0], bens, carls, many[1]]


def test_priority_orders_an_owners_own_jobs_only(jobs: JobStore, attempts: AttemptStore) -> None:
    low, high = submit(jobs, ANNA), submit(jobs, ANNA, priority=7)
    bens = submit(jobs, BEN, priority=-3)
    assert [claimed(attempts).job_id for _ in range(3)] == [high, bens, low]


def test_priority_of_an_admin_counts_among_all(jobs: JobStore, attempts: AttemptStore) -> None:
    last, annas = submit(jobs, ROOT, priority=-1), submit(jobs, ANNA, priority=9)
    own, first = submit(jobs, ROOT), submit(jobs, ROOT, priority=1)
    assert [claimed(attempts).job_id for _ in range(4)] == [first, annas, own, last]


def test_without_owners_the_order_is_that_of_priority_and_submission(
    jobs: JobStore, attempts: AttemptStore
) -> None:
    ids = [submit(jobs, ANYBODY, priority=priority) for priority in (0, 2, 0, -1, 2)]
    expected = [ids[1], ids[4], ids[0], ids[2], ids[3]]
    assert [claimed(attempts).job_id for _ in range(5)] == expected


def test_25_owners_with_40_jobs_each_take_turns(tmp_path: Path) -> None:
    # Submitted owner by owner: the order of submission would serve the last one after 9,600 s.
    history = [PastJob(f"pupil-{owner:02}", 0.0, 10.0) for owner in range(25) for _ in range(40)]
    outcomes = Replay(tmp_path, trainers=1, asks_every=10_000).run(history)
    owners = [outcome.job.owner for outcome in outcomes]
    for turn in range(40):
        assert len(set(owners[25 * turn : 25 * turn + 25])) == 25
    first_starts = {owner: 10.0 * owners.index(owner) for owner in set(owners)}
    assert max(first_starts.values()) == 240.0
    assert [outcome.started for outcome in outcomes] == [10.0 * n for n in range(1000)]


def test_owners_with_longer_jobs_have_fewer_turns(tmp_path: Path) -> None:
    lengths = {"anna": 10.0, "ben": 20.0, "carl": 40.0}
    history = [PastJob(who, 0.0, seconds) for who, seconds in lengths.items() for _ in range(40)]
    outcomes = Replay(tmp_path, trainers=1, asks_every=10_000).run(history)
    # While all three have jobs waiting.
    used = Counter[str]()
    for before, after in pairwise(outcomes[:60]):
        assert after.started >= before.started
        used[before.job.owner] += int(before.job.seconds)
    assert max(used.values()) - min(used.values()) <= 50


def test_starts_expected_of_like_jobs_are_near(tmp_path: Path) -> None:
    lengths = (10.0, 20.0, 30.0)
    known = [PastJob("root", 0.0, length, kind) for kind, length in enumerate(lengths)]
    waiting = [
        PastJob(f"pupil-{number % 5}", 100.0, lengths[number % 3], number % 3)
        for number in range(30)
    ]
    replay = Replay(tmp_path, trainers=2, asks_every=1)
    outcomes = replay.run(known + waiting)
    [last] = [o for o in outcomes if o is list(replay.outcomes.values())[-1]]
    # All others were submitted before it, so nothing that comes later changes its turn.
    assert last.expected == pytest.approx(last.started, abs=10.0)
    assert last.wait > 60
    assert all(o.expected is not None for o in outcomes if o.job.at > 0)


def test_an_owner_does_not_pay_forever_for_a_clock_that_was_ahead(
    jobs: JobStore, database: Database, settings: Settings
) -> None:
    now = START + timedelta(days=3650)
    attempts = AttemptStore(database, settings, lambda: now)
    submit(jobs, ANNA)
    claim = claimed(attempts)
    now += timedelta(seconds=20)
    attempts.release(claim)  # for the next attempt
    now = START
    submit(jobs, BEN)
    assert claimed(attempts).job_id != claim.job_id
    now += timedelta(hours=20)
    with database.read() as session:
        recent = use.recent(session, ["anna"], now, settings.fair_share_half_life_seconds)
    assert recent["anna"] == pytest.approx(0.0, abs=1e-3)
