"""Reports and heartbeats of an attempt, written outside the training thread."""

import logging
import threading
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue

from ml import faults
from ml.training.loop import Report
from service.jobs.attempts import AttemptStore, Claim
from service.jobs.events import NewEvent
from service.jobs.states import RequestedAction

FLUSH_SECONDS = 0.25
HEARTBEAT_SECONDS = 1.0
MAX_LOG_CHARACTERS = 4000


class Reporter:
    """Writes reports and log lines as events, batched into transactions, and sends heartbeats,
    which renew the lease and return the requested action.

    A background thread does this within the `with` block. `requested_action` and the end of the
    block raise its error.
    """

    def __init__(self, attempts: AttemptStore, claim: Claim) -> None:
        self._attempts = attempts
        self._claim = claim
        self._new_events: SimpleQueue[NewEvent] = SimpleQueue()
        self._over = threading.Event()
        self._writing = threading.Lock()
        self.engine: str | None = None
        """Name of the engine that runs the steps, once chosen."""
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
        """Write all queued events now; send a heartbeat if one is due."""
        with self._writing:
            new_events = list(_drain(self._new_events))
            if new_events or time.monotonic() - self._last_heartbeat >= HEARTBEAT_SECONDS:
                self._requested_action = self._attempts.heartbeat(
                    self._claim, new_events, self.engine
                )
                self._last_heartbeat = time.monotonic()
                faults.reach("metrics flushed")

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
                self.flush()
        except Exception as error:
            self._error = error


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
