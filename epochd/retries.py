"""When a request is sent again, and after how long.

A request that may have been carried out is sent again only if that does no harm. One that never
left, since nobody listens, is always sent again.
"""

import logging
import random
from http import HTTPStatus
from time import monotonic
from typing import Any

import httpx

from epochd.calls.call import Call
from epochd.connection import Connection, request
from epochd.errors import ServiceNotReached, seconds_of

logger = logging.getLogger("epochd")

FIRST_SECONDS = 0.25
LONGEST_SECONDS = 5.0
UNKNOWN_SECONDS = 2.0
"""Time for a service that has not answered this client yet: its address may be wrong."""
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
UNSENDABLE = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)
"""Faults of the caller, such as a header with a line feed."""
WITH_RETRY_AFTER = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


def backoff(attempt: int) -> float:
    """Return the seconds before another attempt, which double from one to the next; by chance up to
    a half less, so that many clients do not come back at once."""
    seconds = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempt, 10))
    return seconds * random.uniform(0.5, 1.0)


class Attempts:
    """The attempts at one call, within a total time."""

    def __init__(self, call: Call[Any], connection: Connection) -> None:
        self._call = call
        self._connection = connection
        self._started = monotonic()
        self._count = 0

    def request(self) -> dict[str, Any]:
        """Return the arguments of httpx's `build_request`."""
        return request(self._call)

    def pause_after_failure(self, error: httpx.RequestError) -> float:
        """Return the seconds before the next attempt after one without an answer.

        Raises:
            ServiceNotReached: there is to be none.
        """
        if isinstance(error, UNSENDABLE):
            raise error
        never_sent = isinstance(error, NEVER_SENT)
        most = self._connection.retry_seconds
        if not self._connection.was_reached:
            most = min(most, UNKNOWN_SECONDS)
        pause = backoff(self._count)
        if not (never_sent or self._call.is_repeatable) or not self._fits(pause, most):
            raise not_reached(self._connection.url, error) from error
        return self._again(pause, f"no answer ({_reason(error)})")

    def pause_after(self, response: httpx.Response) -> float | None:
        """Return the seconds before the next attempt after an answer; None if it is the one."""
        self._connection.was_reached = True
        if not self._call.is_repeatable:
            return None
        if response.status_code in WITH_RETRY_AFTER:
            wanted = seconds_of(response.headers.get("retry-after"))
            if wanted is None:  # to wait would not help
                return None
            pause = max(wanted, backoff(self._count))
        elif response.status_code == HTTPStatus.BAD_GATEWAY:  # a proxy's service restarts
            pause = backoff(self._count)
        else:
            return None
        if not self._fits(pause, self._connection.retry_seconds):
            return None
        return self._again(pause, f"{response.status_code} {response.reason_phrase}")

    def _fits(self, pause: float, seconds: float) -> bool:
        return monotonic() - self._started + pause <= seconds

    def _again(self, pause: float, why: str) -> float:
        self._count += 1
        logger.warning("%s: %s; trying again in %.1f s", self._call, why, pause)
        return pause


def not_reached(url: str, error: httpx.RequestError) -> ServiceNotReached:
    """Return the error for a service that does not answer."""
    if isinstance(error, NEVER_SENT):
        message = (
            f"no service at {url} ({_reason(error)}); start one with `epochd serve`, or give its "
            "address as `url` or in EPOCHD_URL"
        )
    else:
        message = f"the connection to {url} broke ({_reason(error)})"
    return ServiceNotReached(message)


def _reason(error: httpx.RequestError) -> str:
    return str(error) or type(error).__name__
