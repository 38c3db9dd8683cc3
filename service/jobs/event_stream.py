"""Live event streams: one database reader per watched job, however many watchers."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import takewhile

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from sqlalchemy.exc import SQLAlchemyError

from service.errors import NotFound
from service.jobs.schemas import Event
from service.jobs.store import EventPage, JobStore

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
KEEP_ALIVE_SECONDS = 15.0
PAGE = 500
REMEMBERED_EVENTS = 2000
"""Events kept in memory per stream; a watcher that needs older ones reads the database."""


class EventStreams:
    """Event streams of the watched jobs."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._streams: dict[str, _EventStream] = {}
        self._closed = False

    async def watch(self, job_id: str, last: int) -> AsyncIterator[bytes]:
        """Yield the job's events after event `last` as server-sent events, until the job ends or
        the service stops."""
        with self._subscribed(job_id, last) as stream:
            while not self._closed:
                waiting, over = stream.changed, stream.over
                events = stream.since(last)
                if events is None:
                    page = await asyncio.to_thread(self._jobs.events, job_id, last, PAGE)
                    events = [(event.id, _encode(event)) for event in page.events]
                    if not events:  # the requested events have been deleted
                        last = stream.floor
                        continue
                if events:
                    yield b"".join(text for _, text in events)
                    last = events[-1][0]
                elif over:
                    return
                else:
                    try:
                        await asyncio.wait_for(waiting.wait(), KEEP_ALIVE_SECONDS)
                    except TimeoutError:
                        yield KEEPALIVE_COMMENT

    def close(self) -> None:
        self._closed = True
        for stream in self._streams.values():
            stream.wake()

    @contextmanager
    def _subscribed(self, job_id: str, last: int) -> Iterator["_EventStream"]:
        stream = self._streams.get(job_id)
        if stream is None or stream.over:
            stream = self._streams[job_id] = _EventStream(self._jobs, job_id, last)
        stream.watchers += 1
        try:
            yield stream
        finally:
            stream.watchers -= 1
            if not stream.watchers:
                stream.stop()
                if self._streams.get(job_id) is stream:
                    del self._streams[job_id]


class _EventStream:
    """Events of one job, read once for all its watchers."""

    def __init__(self, jobs: JobStore, job_id: str, start: int) -> None:
        self.watchers = 0
        self.over = False
        self.changed = asyncio.Event()
        self.floor = start
        """Id of the last event before those in memory."""
        self._jobs = jobs
        self._job_id = job_id
        self._memory: deque[tuple[int, bytes]] = deque()
        self._task = asyncio.create_task(self._read())

    def since(self, last: int) -> list[tuple[int, bytes]] | None:
        """Return the events in memory after `last`; None if some are no longer in memory."""
        if last < self.floor:
            return None
        fresh = list(takewhile(lambda event: event[0] > last, reversed(self._memory)))
        return fresh[::-1]

    def wake(self) -> None:
        """Wake all watchers."""
        waiting, self.changed = self.changed, asyncio.Event()
        waiting.set()

    def stop(self) -> None:
        self._task.cancel()

    async def _read(self) -> None:
        position = self.floor
        while not self.over:
            try:
                page = await asyncio.to_thread(self._jobs.events, self._job_id, position, PAGE)
            except NotFound:
                page = EventPage([], over=True)
            except SQLAlchemyError as error:
                logger.error("the events of %s cannot be read: %s", self._job_id, error)
                page = EventPage([], over=False)
            self.over = page.over
            if page.events:
                position = page.events[-1].id
                self._memory.extend((event.id, _encode(event)) for event in page.events)
                while len(self._memory) > REMEMBERED_EVENTS:
                    self.floor = self._memory.popleft()[0]
            if page.events or page.over:
                self.wake()
            if len(page.events) < PAGE:
                await asyncio.sleep(POLL_SECONDS)


def _encode(event: Event) -> bytes:
    return format_sse_event(data_str=event.model_dump_json(), event=event.kind, id=str(event.id))
