"""The time that leases get to be renewed after nobody could renew them."""

import time

STALL_SECONDS = 1.0
"""Wait for a transaction above which the database counts as having been locked."""


class LeaseGrace:
    """Recognises that no attempt could renew its lease for a while: the database was locked, or
    this process stood still, as it does with a machine that is suspended. A lease that expired
    meanwhile says nothing about its attempt.
    """

    def __init__(self, seconds: float, most_between: float) -> None:
        """`most_between` is the time between two observations above which the process stood
        still."""
        self._seconds = seconds
        self._most_between = most_between
        self._observed_at: float | None = None
        self._until = 0.0

    def begin(self) -> None:
        """Let leases be renewed from now on."""
        self._until = time.monotonic() + self._seconds

    def covers_now(self, requested_at: float) -> bool:
        """Return whether leases must not be judged now, in a transaction that was requested at
        `requested_at` (`time.time`, which a suspended machine's clock resumes with)."""
        now, earlier = time.time(), self._observed_at
        self._observed_at = now
        stood_still = earlier is not None and requested_at - earlier > self._most_between
        if stood_still or now - requested_at > STALL_SECONDS:
            self.begin()
        return time.monotonic() < self._until
