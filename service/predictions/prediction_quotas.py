"""Quotas of predictions a second: a token bucket for each owner, in each web process."""

import time
from collections.abc import Callable

from service.access.caller import Caller
from service.errors import QuotaExceeded
from service.settings import Settings
from service.settings.quotas import Quotas


class PredictionQuotas:
    """Counts the prediction requests of owners with a quota. The web processes, among which a
    client's connections are spread, have equal parts of it."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._quotas = Quotas(settings.quotas)
        self._processes = settings.web_workers
        self._clock = clock
        self._buckets: dict[tuple[str, str | None], _Bucket] = {}
        """The bucket of an owner under a role; there are at most as many as keys."""
        self._shared: dict[tuple[float | None, str | None], _Bucket] = {}
        """The bucket of an owner by its limit, which those of its keys that have it share."""
        self.in_use = self._quotas.sets("predictions_per_second")
        """Whether anybody has such a quota; otherwise there is nothing to ask."""

    def take(self, caller: Caller) -> bool:
        """Count a request if the quota of its caller allows it; return whether it does."""
        return not self.in_use or self._bucket(caller).wait() == 0.0

    def give_back(self, caller: Caller) -> None:
        """Take back the count of a request that is checked again elsewhere."""
        self._bucket(caller).give_back()

    def check(self, caller: Caller) -> None:
        """Count a request of `caller`.

        Raises:
            QuotaExceeded: the quota does not allow it.
        """
        if not self.in_use or (wait := self._bucket(caller).wait()) == 0.0:
            return
        limit = self._quotas.of(caller.role, caller.owner).predictions_per_second
        share = (
            f", of which this web process has 1/{self._processes}" if self._processes > 1 else ""
        )
        raise QuotaExceeded(
            f"{caller.owner or caller.role} sends more than {limit:,g} prediction requests a "
            f"second, the quota{share} (predictions_per_second, EPOCHD_QUOTAS); the next is "
            f"answered in {wait:.3g} seconds; send several rows in one request",
            wait,
        )

    def _bucket(self, caller: Caller) -> "_Bucket":
        found = self._buckets.get((caller.role, caller.owner))
        if found is None:
            limit = self._quotas.of(caller.role, caller.owner).predictions_per_second
            rate = None if limit is None else limit / self._processes
            found = self._shared.setdefault((limit, caller.owner), _Bucket(rate, self._clock))
            self._buckets[caller.role, caller.owner] = found
        return found


class _Bucket:
    """Tokens that come at a rate, at most those of a second, or one."""

    def __init__(self, rate: float | None, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._most = self._tokens = max(1.0, rate or 0.0)
        self._at = clock()

    def wait(self) -> float:
        """Take a token and return 0; if there is none, return the seconds until there is one."""
        if self._rate is None:
            return 0.0
        now = self._clock()
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / self._rate
        self._tokens -= 1.0
        return 0.0

    def give_back(self) -> None:
        """Put a token back."""
        self._tokens = min(self._most, self._tokens + 1.0)
