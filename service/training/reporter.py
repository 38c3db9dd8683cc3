"""Reports and heartbeats of an attempt, written outside the training thread."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue

from sqlalchemy.exc import SQLAlchemyError

from ml import faults
from ml.training.loop import Report
from service.jobs.attempts import AttemptStore, Claim
from service.jobs.events import NewEvent
from service.jobs.states import RequestedAction
from service.jobs.thinning import Numbering, without_surplus
from service.storage.database import writing_within
from service.training.retry import passes, until_done

FLUSH_SECONDS = 0.25
HEARTBEAT_SECONDS = 1.0
MAX_LOG_CHARACTERS = 4000
MAX_WAITING_EVENTS = 30_000
"""Events that wait for the database; above it, reports are thinned and log lines dropped."""
MAX_WAITING_LINES = 1000
EVENTS_PER_WRITE = 5000
MOMENT_SECONDS = 0.5
"""Longest wait of the training thread for the database."""


class Reporter:
    """Writes reports and log lines as events, batched into transactions, and sends heartbeats,
    which renew the lease and return the requested action.

    A background thread does this within the `with` block. While the database is busy or full, it
    keeps the events and goes on trying: the attempt ends only when its job is taken from it.
    `requested_action` and the end of the block raise its error.
    """

    def __init__(
        self, attempts: AttemptStore, claim: Claim, on_wait: Callable[[], None] = lambda: None
    ) -> None:
        """`on_wait` is called whenever the database cannot be written."""
        self._attempts = attempts
        self._claim = claim
        self._on_wait = on_wait
        self._new_events: SimpleQueue[NewEvent] = SimpleQueue()
        self._waiting: list[NewEvent] = []
        """Events taken from the queue and not yet written."""
        self._over = threading.Event()
        self._writing = threading.Lock()
        self.engine: str | None = None
        """Name of the engine that runs the steps, once chosen."""
        self.numbering = Numbering(steps_per_epoch=1, report_every=1)
        """Numbering of the reports, by which they are thinned."""
        self._is_behind = False
        """Whether the last write failed, so that events wait."""
        self._requested_action: RequestedAction | None = None
        self._error: Exception | None = None
        self._last_heartbeat = 0.0
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def report(self, report: Report) -> None:
        """Queue a report for the next flush."""
        self._new_events.put(NewEvent.from_report(report))

    def log(self, level: str, message: str) -> None:
        """Queue a log line for the next flush."""
        data = {"level": level, "message": message[:MAX_LOG_CHARACTERS]}
        self._new_events.put(NewEvent("log", data))

    def requested_action(self) -> RequestedAction | None:
        """Return the action requested of the attempt, as of the last heartbeat."""
        if self._error:
            raise self._error
        return self._requested_action

    def flush(self) -> None:
        """Write all queued events now, however long that takes; send a heartbeat if one is due."""
        until_done(self._flush, self._on_wait)

    def try_flush(self) -> bool:
        """Write all queued events now; return whether the database took them within moments."""
        if self._is_behind or not self._writing.acquire(timeout=MOMENT_SECONDS):
            return False
        try:
            with writing_within(MOMENT_SECONDS):
                return self._try_to_write_all()
        finally:
            self._writing.release()

    def _flush(self) -> None:
        with self._writing:
            self._write_all()

    def _write_all(self) -> None:
        self._take_queued()
        due = time.monotonic() - self._last_heartbeat >= HEARTBEAT_SECONDS
        while self._waiting or due:
            events = self._waiting[:EVENTS_PER_WRITE]
            self._requested_action = self._attempts.heartbeat(self._claim, events, self.engine)
            del self._waiting[: len(events)]
            self._last_heartbeat, due = time.monotonic(), False
            faults.reach("metrics flushed")
        self._is_behind = False

    def _try_to_write_all(self) -> bool:
        try:
            self._write_all()
        except SQLAlchemyError as error:
            if not passes(error):
                raise
            self._is_behind = True
            self._on_wait()
        return not self._is_behind

    def _take_queued(self) -> None:
        self._waiting += _drain(self._new_events)
        if len(self._waiting) > MAX_WAITING_EVENTS:
            lines = [event for event in self._waiting if event.kind == "log"]
            dropped = {id(line) for line in lines[:-MAX_WAITING_LINES]}
            kept = [event for event in self._waiting if id(event) not in dropped]
            self._waiting = without_surplus(kept, self.numbering)

    def __enter__(self) -> "Reporter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._error:
            raise self._error
        self.flush()

    def _run(self) -> None:
        try:
            while not self._over.wait(FLUSH_SECONDS):
                with self._writing:
                    if not self._try_to_write_all():
                        self._read_requested_action()
        except Exception as error:
            self._error = error

    def _read_requested_action(self) -> None:
        """Look for a requested action without writing."""
        try:
            self._requested_action = self._attempts.requested_action(self._claim)
        except SQLAlchemyError as error:
            if not passes(error):
                raise


class LogHandler(logging.Handler):
    """Sends log records of an attempt to its reporter."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.INFO)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.log(record.levelname.lower(), record.getMessage())


def _drain(queue: "SimpleQueue[NewEvent]") -> Iterator[NewEvent]:
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return
