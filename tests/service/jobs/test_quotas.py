"""Quotas of jobs and of stored bytes, on a real SQLite file."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from ml.artifacts import Manifest
from service.access.caller import ANYBODY, Caller, Role
from service.errors import QuotaExceeded
from service.jobs.attempts import AttemptStore
from service.jobs.queue_limits import QueueLimits
from service.jobs.quota_names import unknown_names
from service.jobs.sharing import Sharing
from service.jobs.store import JobStore
from service.settings import Settings
from service.settings.quotas import Quotas, parse_quotas
from service.storage.database import Database
from service.storage.stored_bytes import MB, StoredQuotas, stored_bytes
from service.storage.tables import DatasetRow, KeyRow
from tests.service.conftest import claimed
from tests.service.jobs.test_fair_share import ANNA, BEN, ROOT, submit

MORNING = datetime(2026, 11, 2, 9, tzinfo=UTC)


def limited(settings: Settings, text: str) -> Settings:
    return settings.model_copy(update={"quotas": parse_quotas(text)})


def store(database: Database, text: str) -> JobStore:
    return JobStore(database, QueueLimits(None, Quotas(parse_quotas(text))))


def test_waiting_jobs_are_refused_above_the_quota(
    database: Database, attempts: AttemptStore
) -> None:
    jobs = store(database, "member: waiting=2")
    ids = [submit(jobs, ANNA) for _ in range(2)]
    with pytest.raises(QuotaExceeded) as error:
        submit(jobs, ANNA)
    assert "anna has 2 jobs waiting, and the quota is 2" in error.value.detail
    assert error.value.response_headers() == {"Retry-After": "10"}
    for _ in range(3):
        submit(jobs, ROOT)
    submit(jobs, BEN)
    claimed(attempts)
    submit(jobs, ANNA)
    jobs.pause(ids[1])
    submit(jobs, ANNA)
    with pytest.raises(QuotaExceeded):
        jobs.resume(ids[1])
    assert jobs.fetch(ids[1]).status == "paused"


def test_parallel_submissions_never_exceed_the_quota(database: Database) -> None:
    jobs = store(database, "member: waiting=7")

    def accepted(_: int) -> bool:
        try:
            submit(jobs, ANNA)
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(accepted, range(50))) == 7
    assert jobs.counts()["queued"] == 7


def test_running_quota_holds_jobs_in_the_queue(
    database: Database, jobs: JobStore, settings: Settings
) -> None:
    attempts = AttemptStore(database, limited(settings, "member: running=1; ben: running=2"))
    annas = [submit(jobs, ANNA) for _ in range(2)]
    bens = [submit(jobs, BEN) for _ in range(3)]
    claims = [claimed(attempts) for _ in range(3)]
    assert {claim.job_id for claim in claims} == {annas[0], bens[0], bens[1]}
    assert attempts.claim("a trainer") is None
    sharing = Sharing(database, limited(settings, "member: running=1; ben: running=2"))
    held = {entry.job: entry.held for entry in sharing.queue(ANYBODY, 3, 10, 0).data}
    hold = held[annas[1]]
    assert hold is not None
    assert hold.by == "quota"
    assert "anna has 1 job running, and the quota is 1" in hold.detail
    attempts.release(next(claim for claim in claims if claim.job_id == annas[0]))
    assert claimed(attempts).job_id == annas[0]


def test_daily_quota_holds_jobs_until_midnight(
    database: Database, jobs: JobStore, settings: Settings
) -> None:
    now = MORNING
    limits = limited(settings, "member: device_seconds_per_day=100")
    attempts = AttemptStore(database, limits, lambda: now)
    ids = [submit(jobs, ANNA) for _ in range(3)]
    claim = claimed(attempts)
    now += timedelta(seconds=90)
    attempts.heartbeat(claim)
    attempts.release(claim)
    # 90 seconds are used: another attempt may start, and counts as it runs.
    claim = claimed(attempts)
    now += timedelta(seconds=10)
    attempts.heartbeat(claim)
    assert attempts.claim("a trainer") is None
    entries = Sharing(database, limits, lambda: now).queue(ANYBODY, 1, 10, 0).data
    assert [(entry.job, entry.position) for entry in entries] == [(ids[1], None), (ids[2], None)]
    hold = entries[0].held
    assert hold is not None
    assert hold.until == datetime(2026, 11, 3, tzinfo=UTC)
    assert "100 device-seconds today, and the quota is 100" in hold.detail
    attempts.release(claim)
    now = datetime(2026, 11, 3, 0, 1, tzinfo=UTC)
    assert claimed(attempts).job_id == ids[0]


def test_stored_quota_counts_uploads_and_models(
    database: Database, attempts: AttemptStore, manifest: Manifest, settings: Settings
) -> None:
    jobs = store(database, "member: stored_mb=1")
    submit(jobs, ANNA)
    directory = settings.models_dir / "anna-1"
    directory.mkdir(parents=True)
    (directory / "weights").write_bytes(b"x" * 400_000)
    attempts.succeed(claimed(attempts), manifest, "anna-1")
    with database.write() as session:
        models = stored_bytes(session, "anna")
        assert models >= 400_000
        session.add(
            DatasetRow(
                id="ds_a",
                name="a",
                owner="anna",
                sha256="",
                content="",
                bytes=500_000,
                options={},
                schema={},
                created_at=datetime.now(UTC),
            )
        )
    with database.read() as session:
        assert stored_bytes(session, "anna") == models + 500_000
        assert stored_bytes(session, None) == stored_bytes(session, "ben") == 0
    quotas = StoredQuotas(database, Quotas(parse_quotas("member: stored_mb=1")))
    quotas.check("anna", "member", MB - 500_000 - models)
    with pytest.raises(QuotaExceeded, match=r"anna stores 0\.9 MB .* would add 0\.2 MB; the quota"):
        quotas.check("anna", "member", 200_000)
    quotas.check("anna", "admin", 10**12)
    submit(jobs, ANNA)
    with pytest.raises(QuotaExceeded, match="it frees when data sets or versions"):
        submit(store(database, "anna: stored_mb=0.9"), ANNA)


def test_viewer_and_admin_lines_apply_without_keys(database: Database) -> None:
    jobs = store(database, "admin: waiting=1")
    submit(jobs, ANYBODY)
    with pytest.raises(QuotaExceeded, match="admin has 1 job waiting"):
        submit(jobs, ANYBODY)
    submit(jobs, Caller(Role.MEMBER, "anna"))


def test_names_of_nobody_are_told(database: Database) -> None:
    quotas = Quotas(parse_quotas("membr: waiting=1; member: waiting=2; anna: running=4"))
    assert unknown_names(database, quotas) == ["anna", "membr"]
    with database.write() as session:
        session.add(
            KeyRow(
                id="key_a",
                name="a",
                owner="anna",
                role="member",
                secret_sha256="",
                created_at=MORNING,
            )
        )
    assert unknown_names(database, quotas) == ["membr"]
