"""The stream of a job's events, which goes on where it broke off."""

import json
from http import HTTPStatus
from time import monotonic
from typing import Any

import httpx
from pydantic import ValidationError

from epochd.calls import jobs
from epochd.connection import CONNECT_SECONDS, Connection, refusal, request
from epochd.errors import TimedOut, seconds_of
from epochd.retries import WITH_RETRY_AFTER, backoff, logger, not_reached
from epochd.schemas import Event

SILENCE_SECONDS = 45.0
"""Time after which a silent connection is given up: the service sends something every 15 s."""


class EventParser:
    """Reads server-sent events from bytes as they come."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that are complete now.

        Lines end with a line feed only: JSON may have the other characters at which Python and
        httpx divide lines.
        """
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        found = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line.removeprefix(b"data:").strip())
            elif not line.strip(b"\r") and self._data:
                found.append(b"\n".join(self._data))
                self._data = []
        return [event for text in found if (event := _event(text)) is not None]


class Following:
    """The way through a job's events: what to ask for next, and when to stop."""

    def __init__(
        self, job_id: str, connection: Connection, after: int, timeout: float | None
    ) -> None:
        """`timeout` is the total time in seconds."""
        self._job_id = job_id
        self._connection = connection
        self._timeout = timeout
        self._deadline = None if timeout is None else monotonic() + timeout
        self._heard = monotonic()
        self._failures = 0
        self._parser = EventParser()
        self.last = after
        """Id of the last event that was read."""
        self.is_over = False
        self._ended = False

    def request(self) -> dict[str, Any]:
        """Return the arguments of httpx's `build_request` to open the stream after the last event.

        Raises:
            TimedOut: the time is over.
        """
        self._check_time()
        self._parser = EventParser()
        return request(jobs.events(self._job_id, self.last), self._silence())

    def _silence(self) -> httpx.Timeout:
        """Return the time for which the connection may be silent: with a deadline a part of what is
        left, since nobody looks at the clock meanwhile."""
        read = SILENCE_SECONDS
        if self._deadline is not None:
            left = max(0.01, self._deadline - monotonic())
            read = min(read, left, max(1.0, left / 4))
        return httpx.Timeout(read, connect=min(CONNECT_SECONDS, read))

    def open(self, response: httpx.Response) -> float | None:
        """Look at the head of the answer, whose body was read if it is none of success. Return
        None if events follow, else the seconds before the next call.

        Raises:
            ApiError: there is no such stream.
        """
        if response.status_code == HTTPStatus.NO_CONTENT:
            self.is_over = True
            return 0.0
        if response.is_success:
            self._heard = monotonic()
            return None
        wanted = seconds_of(response.headers.get("retry-after"))
        if response.status_code == HTTPStatus.BAD_GATEWAY:  # a proxy's service restarts
            wanted = wanted or 0.0
        elif response.status_code not in WITH_RETRY_AFTER:
            wanted = None
        if wanted is None or not self._has_patience(wanted):
            raise refusal(response)
        return self._pause(wanted, f"{response.status_code} {response.reason_phrase}")

    def read(self, chunk: bytes) -> list[Event]:
        """Return the new events in a part of the stream.

        Raises:
            TimedOut: the time is over.
        """
        self._check_time()
        self._heard, self._failures = monotonic(), 0
        events = [event for event in self._parser.feed(chunk) if event.id > self.last]
        if events:
            self.last = events[-1].id
            self._ended = events[-1].ends_job
        return events

    def close(self) -> float:
        """Note that the service has ended the stream: with the job, or because it stops. Return the
        seconds before the next call."""
        self.is_over = self._ended
        return 0.0 if self.is_over else self._pause(0.0, "the stream of events has ended early")

    def fail(self, error: httpx.RequestError) -> float:
        """Return the seconds before the next call, after the connection broke.

        Raises:
            TimedOut: the time is over.
            ServiceNotReached: the service has been away for too long.
        """
        self._check_time()
        if not self._has_patience(0.0):
            raise not_reached(self._connection.url, error) from error
        return self._pause(0.0, str(error) or type(error).__name__)

    def _has_patience(self, pause: float) -> bool:
        return monotonic() - self._heard + pause <= self._connection.retry_seconds

    def _pause(self, wanted: float, why: str) -> float:
        self._failures += 1
        seconds = max(wanted, backoff(self._failures - 1))
        if self._deadline is not None:
            seconds = min(seconds, max(0.0, self._deadline - monotonic()))
        logger.info("events of %s: %s; trying again in %.1f s", self._job_id, why, seconds)
        return seconds

    def _check_time(self) -> None:
        if self._deadline is not None and monotonic() >= self._deadline:
            message = f"{self._job_id} has not ended within {self._timeout:g} seconds"
            raise TimedOut(f"{message}; it goes on, and can be waited for again")


def _event(text: bytes) -> Event | None:
    """Return an event; None for what is none, which a later service may send."""
    try:
        return Event.model_validate(json.loads(text))
    except (ValueError, ValidationError):
        return None
