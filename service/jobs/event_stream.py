"""Live event streams: one poll of the database for all watched jobs, however many watchers."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from sqlalchemy.exc import SQLAlchemyError

from service.errors import NotFound
from service.jobs.schemas import Event
from service.jobs.states import ENDED
from service.jobs.store import JobStore

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
KEEP_ALIVE_SECONDS = 15.0
PAGE = 500
"""Events of one job that are read at once."""
POLLED_EVENTS = 2000
"""Events of all watched jobs that are read at once."""
POLLS_PER_ROLL_CALL = 8
"""Polls between two looks for watched jobs that have been deleted."""
REMEMBERED_EVENTS = 500
"""Events kept in memory per stream; a watcher that needs older ones reads the database."""


class EventStreams:
    """Event streams of the watched jobs."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._streams: dict[str, _EventStream] = {}
        self._poller: asyncio.Task[None] | None = None
        self._closed = False

    async def watch(self, job_id: str, last: int) -> AsyncIterator[bytes]:
        """Yield the job's events after event `last` as server-sent events, until the job ends or
        the service stops."""
        with self._subscribed(job_id, last) as stream:
            while not self._closed:
                waiting, over = stream.changed, stream.over
                events = stream.since(last)
                if events is None:
                    page = await asyncio.to_thread(_read_page, self._jobs, job_id, last)
                    events = page.events
                    if not events:  # the requested events have been deleted
                        last = stream.floor
                        continue
                if events:
                    yield b"".join(event.text for event in events)
                    last = events[-1].id
                elif over:
                    return
                else:
                    try:
                        await asyncio.wait_for(waiting.wait(), KEEP_ALIVE_SECONDS)
                    except TimeoutError:
                        yield KEEPALIVE_COMMENT

    async def ended(self, job_id: str) -> None:
        """Return when the job has ended or has been deleted, or the service stops.

        Raises:
            NotFound: no job has this id.
        """
        # Only later events matter: if the job has ended by now, there are none.
        last = await asyncio.to_thread(self._jobs.last_event, job_id)
        with self._subscribed(job_id, last) as stream:
            while not (self._closed or stream.over):
                await stream.changed.wait()

    def close(self) -> None:
        self._closed = True
        for stream in self._streams.values():
            stream.wake()

    @contextmanager
    def _subscribed(self, job_id: str, last: int) -> Iterator["_EventStream"]:
        stream = self._streams.get(job_id)
        if stream is None or stream.over:
            stream = self._streams[job_id] = _EventStream(self._jobs, job_id, last)
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        stream.watchers += 1
        try:
            yield stream
        finally:
            stream.watchers -= 1
            if not stream.watchers:
                stream.stop()
                if self._streams.get(job_id) is stream:
                    del self._streams[job_id]
            if not self._streams and self._poller is not None:
                self._poller.cancel()
                self._poller = None

    async def _poll(self) -> None:
        """Read new events for all streams that have read their past, forever."""
        polls = 0
        while True:
            live = {s.job_id: s for s in self._streams.values() if s.is_live and not s.over}
            found = 0
            try:
                if live:
                    polls += 1
                    found = await self._poll_once(live, polls % POLLS_PER_ROLL_CALL == 0)
            except SQLAlchemyError as error:
                logger.error("the events of watched jobs cannot be read: %s", error)
            if found < POLLED_EVENTS:
                await asyncio.sleep(POLL_SECONDS)

    async def _poll_once(self, live: dict[str, "_EventStream"], roll_call: bool) -> int:
        """Hand new events to their streams and return their number. In a roll call, also end the
        streams of deleted jobs."""
        positions = {job_id: stream.position for job_id, stream in live.items()}
        new = await asyncio.to_thread(_read_new, self._jobs, positions)
        for job_id, events in new.items():
            live[job_id].extend(events)
        if roll_call:
            for job_id in await asyncio.to_thread(self._jobs.deleted, list(live)):
                live[job_id].end()
        return sum(map(len, new.values()))


@dataclass(frozen=True)
class _Sent:
    """An event as it is sent."""

    id: int
    text: bytes
    ends_job: bool


class _EventStream:
    """Events of one job, read once for all its watchers."""

    def __init__(self, jobs: JobStore, job_id: str, start: int) -> None:
        self.job_id = job_id
        self.watchers = 0
        self.is_live = False
        """Whether it has read the past, so that the poll may read its new events."""
        self.over = False
        self.changed = asyncio.Event()
        self.floor = start
        """Id of the last event before those in memory."""
        self.position = start
        """Id of the last event that was read."""
        self._jobs = jobs
        self._memory: deque[_Sent] = deque()
        self._task = asyncio.create_task(self._read_past())

    def since(self, last: int) -> list[_Sent] | None:
        """Return the events in memory after `last`; None if some are no longer in memory."""
        if last < self.floor:
            return None
        fresh = list(takewhile(lambda event: event.id > last, reversed(self._memory)))
        return fresh[::-1]

    def extend(self, events: Sequence[_Sent]) -> None:
        """Add the next events. The stream ends with the job."""
        if not events:
            return
        self.position = events[-1].id
        self._memory.extend(events)
        while len(self._memory) > REMEMBERED_EVENTS:
            self.floor = self._memory.popleft().id
        self.over = events[-1].ends_job
        self.wake()

    def wake(self) -> None:
        """Wake all watchers."""
        waiting, self.changed = self.changed, asyncio.Event()
        waiting.set()

    def end(self) -> None:
        self.over = True
        self.wake()

    def stop(self) -> None:
        self._task.cancel()

    async def _read_past(self) -> None:
        while not self.is_live:
            try:
                page = await asyncio.to_thread(_read_page, self._jobs, self.job_id, self.position)
            except NotFound:
                self.end()
                return
            except SQLAlchemyError as error:
                logger.error("the events of %s cannot be read: %s", self.job_id, error)
                await asyncio.sleep(POLL_SECONDS)
                continue
            self.extend(page.events)
            if page.over:
                self.end()
            self.is_live = len(page.events) < PAGE


@dataclass(frozen=True)
class _Page:
    events: list[_Sent]
    over: bool


def _read_page(jobs: JobStore, job_id: str, after: int) -> _Page:
    page = jobs.events(job_id, after, PAGE)
    return _Page([_sent(event) for event in page.events], page.over)


def _read_new(jobs: JobStore, positions: dict[str, int]) -> dict[str, list[_Sent]]:
    new = jobs.new_events(positions, POLLED_EVENTS)
    return {job_id: [_sent(event) for event in events] for job_id, events in new.items()}


def _sent(event: Event) -> _Sent:
    text = format_sse_event(data_str=event.model_dump_json(), event=event.kind, id=str(event.id))
    ends_job = event.kind == "status" and event.data["status"] in ENDED
    return _Sent(event.id, text, ends_job)
