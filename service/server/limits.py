"""Limits of connections: how many there are, and how long each waits for its client.

uvicorn has neither: clients that say nothing, or very little, would use up memory and file
descriptors.
"""

import logging
import resource
from collections import Counter
from collections.abc import Iterable
from enum import Enum, auto
from http import HTTPStatus
from typing import NamedTuple, Protocol

from service.http.body_budget import BodyBudget
from service.http.proxies import TrustedProxies
from service.server.refusals import Refusal
from service.settings import Settings

logger = logging.getLogger(__name__)

HEAD_SECONDS = 10.0
BODY_SECONDS = 10.0
BODY_BYTES = 10 * 1024
"""Bytes of a body that must arrive in each `BODY_SECONDS`."""
CROWDED = 0.75
"""Share of the maximum number of connections above which idle ones are closed early."""
CROWDED_SECONDS = 5.0
OTHER_FILES = 256
"""File descriptors left to everything but connections."""
MAX_OPEN_FILES = 1 << 20


class Phase(Enum):
    """Whom a connection waits for."""

    IDLE = auto()
    """For the client, to begin a request."""
    HEAD = auto()
    """For the client, to complete a head."""
    BODY = auto()
    """For the client, to complete a body."""
    BUSY = auto()
    """For the service."""


SLOW_HEAD = Refusal(
    HTTPStatus.REQUEST_TIMEOUT,
    f"the head of the request did not arrive within {HEAD_SECONDS:g} seconds",
)
SLOW_BODY = Refusal(
    HTTPStatus.REQUEST_TIMEOUT,
    f"less than {BODY_BYTES:,} bytes of the body arrived within {BODY_SECONDS:g} seconds",
)
NO_MEMORY = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "too many request bodies are in memory; retry later"
)
TOO_MANY = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "too many connections are open (EPOCHD_MAX_CONNECTIONS)"
)
TOO_MANY_OF_ONE = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "too many connections are open from this address (EPOCHD_MAX_CONNECTIONS_PER_ADDRESS); a "
    "reverse proxy is exempt if EPOCHD_TRUSTED_PROXIES names it",
)


class Progress(NamedTuple):
    """State of a connection at a check."""

    phase: Phase
    requests: int
    """Number of requests begun on the connection."""
    received: int
    """Bytes of bodies received on the connection."""
    buffered: int
    """Bytes of bodies in the connection's buffers."""


class Watched(Protocol):
    """A connection, as the limits see it."""

    watch: "Watch"

    def progress(self) -> Progress:
        """Return the state of the connection."""

    def refuse(self, refusal: Refusal) -> None:
        """Answer the request being read with an error and close the connection."""

    def shutdown(self) -> None:
        """Close the connection, after the responses to all requests on it."""


class Watch:
    """Time a connection has spent in its present phase."""

    __slots__ = ("_began", "_seconds")

    def __init__(self) -> None:
        self._began = Progress(Phase.BUSY, 0, 0, 0)
        self._seconds = 0.0

    def check(self, connection: Watched, now: Progress, passed: float, idle: float) -> None:
        """End a connection whose client is too slow, `passed` seconds after the last check."""
        if now[:2] != self._began[:2]:
            self._began, self._seconds = now, 0.0
            return
        self._seconds += passed
        match now.phase:
            case Phase.IDLE if self._seconds >= idle:
                connection.shutdown()
            case Phase.HEAD if self._seconds >= HEAD_SECONDS:
                connection.refuse(SLOW_HEAD)
            case Phase.BODY if self._seconds >= BODY_SECONDS:
                if now.received - self._began.received < BODY_BYTES:
                    connection.refuse(SLOW_BODY)
                self._began, self._seconds = now, 0.0


class ConnectionLimits:
    """Limits of all connections of a process."""

    def __init__(self, settings: Settings, budget: BodyBudget) -> None:
        self._max = max(1, min(settings.max_connections, raise_open_files() - OTHER_FILES))
        self._max_of_one = settings.max_connections_per_address
        self._idle_seconds = settings.keep_alive_seconds
        self._is_exempt = TrustedProxies(settings.trusted_proxies).trusts
        self._budget = budget
        self._open = 0
        self._of_address: Counter[str] = Counter()
        if self._max < settings.max_connections:
            logger.warning(
                "at most %d connections instead of EPOCHD_MAX_CONNECTIONS=%d: the hard limit on "
                "open files (ulimit -Hn) is too low",
                self._max,
                settings.max_connections,
            )

    def opened(self, address: str) -> Refusal | None:
        """Count a new connection; return the reason to refuse it, if there is one. The address is
        empty for a Unix socket, whose clients are not told apart."""
        self._open += 1
        self._of_address[address] += 1
        if self._open > self._max:
            return TOO_MANY
        if self._of_address[address] <= self._max_of_one or not address or self._is_exempt(address):
            return None
        return TOO_MANY_OF_ONE

    def closed(self, address: str) -> None:
        """Count the end of a connection."""
        self._open -= 1
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]

    def check(self, connections: Iterable[Watched], passed: float) -> None:
        """End slow and idle connections, `passed` seconds after the last check."""
        crowded = self._open > CROWDED * self._max
        idle = min(self._idle_seconds, CROWDED_SECONDS) if crowded else self._idle_seconds
        buffered = 0
        for connection in list(connections):
            now = connection.progress()
            buffered += now.buffered
            if now.phase is Phase.BODY and buffered > self._budget.limit:
                buffered -= now.buffered
                connection.refuse(NO_MEMORY)
            else:
                connection.watch.check(connection, now, passed, idle)
        self._budget.buffered = buffered


def raise_open_files() -> int:
    """Raise the limit on open files as far as this process may, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return MAX_OPEN_FILES if soft == resource.RLIM_INFINITY else soft
