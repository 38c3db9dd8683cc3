"""Live event streams of jobs, on a real SQLite file."""

import asyncio
import threading
from collections import Counter
from collections.abc import Mapping
from threading import get_ident

import pytest
from sqlalchemy import event

from service.errors import NotFound
from service.jobs import event_stream
from service.jobs.attempts import AttemptStore
from service.jobs.event_stream import EventStreams
from service.jobs.events import NewEvent
from service.jobs.failures import SERVICE_ENDED
from service.jobs.schemas import Event
from service.jobs.store import EventPage, JobStore
from service.storage.database import Database
from tests.service.conftest import claimed, submitted


class Counting(JobStore):
    """Counts polls and other reads of events, and cancels all jobs once the poll reads them all."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.polls = 0
        self.ids: list[str] = []
        self.pasts = 0
        self.most_statements = 0
        """Greatest number of statements that a poll executed."""
        self._statements: Counter[int] = Counter()
        event.listen(database._readers, "before_cursor_execute", self._count)

    def _count(self, *_: object) -> None:
        self._statements[get_ident()] += 1

    def events(self, job_id: str, after: int, limit: int) -> EventPage:
        self.pasts += 1
        return super().events(job_id, after, limit)

    def new_events(self, positions: Mapping[str, int], limit: int) -> dict[str, list[Event]]:
        self.polls += 1
        if len(positions) == len(self.ids):
            while self.ids:
                self.cancel(self.ids.pop())
        before = self._statements[get_ident()]
        new = super().new_events(positions, limit)
        self.most_statements = max(self.most_statements, self._statements[get_ident()] - before)
        return new


async def watched(event_streams: EventStreams, job_id: str, last: int = 0) -> bytes:
    return b"".join([text async for text in event_streams.watch(job_id, last)])


@pytest.mark.parametrize(("watched_jobs", "watchers"), [(1, 100), (100, 1)])
def test_watched_jobs_share_one_poll_and_watchers_one_reader(
    database: Database, watched_jobs: int, watchers: int
) -> None:
    store = Counting(database)
    ids = [submitted(store) for _ in range(watched_jobs)]
    store.ids = list(ids)

    async def all_watch() -> list[bytes]:
        event_streams = EventStreams(store)
        return await asyncio.gather(
            *(watched(event_streams, job_id) for job_id in ids for _ in range(watchers))
        )

    streams = asyncio.run(all_watch())
    assert all(stream.count(b"event: status") == 2 for stream in streams)
    assert len(set(streams)) == watched_jobs
    assert store.pasts == watched_jobs
    assert store.polls < 10
    assert store.most_statements == 2  # BEGIN and SELECT


def test_late_watcher_reads_dropped_events_from_the_database(
    jobs: JobStore, attempts: AttemptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "REMEMBERED_EVENTS", 10)
    monkeypatch.setattr(event_stream, "PAGE", 7)
    job_id = submitted(jobs)
    attempts.heartbeat(
        claimed(attempts), [NewEvent("log", {"level": "info", "message": ""}) for _ in range(100)]
    )
    newest = jobs.events(job_id, 0, 1000).events[-1].id

    async def two_watch() -> list[bytes]:
        streams = EventStreams(jobs)
        early = asyncio.create_task(watched(streams, job_id, newest - 3))
        await asyncio.sleep(0)  # the first watcher creates the stream, which starts at its position
        late = asyncio.create_task(watched(streams, job_id))
        await asyncio.to_thread(jobs.cancel, job_id)
        await asyncio.to_thread(attempts.expire_leases, SERVICE_ENDED, all_running=True)
        return await asyncio.gather(early, late)

    early, late = asyncio.run(two_watch())
    assert (early.count(b"event: "), late.count(b"event: ")) == (3 + 1, 102 + 1)
    assert late.endswith(early)


def test_closing_ends_every_stream(jobs: JobStore) -> None:
    job_id = submitted(jobs)

    async def watch_and_close() -> bytes:
        streams = EventStreams(jobs)
        watching = asyncio.create_task(watched(streams, job_id))
        await asyncio.sleep(0)
        streams.close()
        return await watching

    assert asyncio.run(watch_and_close()) == b""


def test_quiet_stream_is_kept_alive(jobs: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_SECONDS", 0.01)
    job_id = submitted(jobs)

    async def first_two() -> list[bytes]:
        stream = EventStreams(jobs).watch(job_id, 0)
        return [await anext(stream), await anext(stream)]

    queued, ping = sorted(asyncio.run(first_two()), reverse=True)
    assert queued.startswith(b"event: status")
    assert ping == b": ping\n\n"


def test_stream_ends_when_its_job_is_deleted(jobs: JobStore) -> None:
    job_id = submitted(jobs)

    async def watch_and_delete() -> bytes:
        stream = EventStreams(jobs).watch(job_id, 0)
        first = await anext(stream)
        await asyncio.to_thread(jobs.delete, job_id)
        return first + b"".join([text async for text in stream])

    assert asyncio.run(watch_and_delete()).count(b"event: ") == 1


def test_many_wait_for_the_ends_of_jobs_in_few_reads_and_threads(database: Database) -> None:
    store = Counting(database)
    ids = [submitted(store) for _ in range(20)]
    store.ids = list(ids)

    async def all_wait() -> int:
        streams = EventStreams(store)
        waiting = [asyncio.create_task(streams.ended(job_id)) for job_id in ids for _ in range(100)]
        await asyncio.gather(*waiting)
        assert streams._streams == {}
        return threading.active_count()

    # The default pool has a few threads, however many wait.
    assert asyncio.run(all_wait()) < 50
    assert {store.fetch(job_id).status for job_id in ids} == {"cancelled"}
    assert store.polls < 10


def test_waiting_ends_with_a_deletion_and_with_the_service(jobs: JobStore) -> None:
    deleted, waiting, ended = (submitted(jobs) for _ in range(3))
    jobs.cancel(ended)

    async def wait() -> None:
        streams = EventStreams(jobs)
        await streams.ended(ended)
        gone = asyncio.create_task(streams.ended(deleted))
        await asyncio.to_thread(jobs.delete, deleted)
        await asyncio.gather(gone, return_exceptions=True)
        left = asyncio.create_task(streams.ended(waiting))
        await asyncio.sleep(0)
        streams.close()
        await left
        with pytest.raises(NotFound, match="job_x"):
            await streams.ended("job_x")

    asyncio.run(wait())
