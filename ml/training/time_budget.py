"""The time that a run may take, over all attempts at its job."""

import time
from collections.abc import Callable

from ml.specs import TrainingSpec


def seconds_per_run(max_seconds: float | None, folds: int | None) -> float | None:
    """Return the seconds that each run of a job may take: the folds and the final run have equal
    shares. None stands for any time."""
    return None if max_seconds is None else max_seconds / ((folds or 0) + 1)


class TimeBudget:
    """Counts the seconds of a run's training, in every attempt, against those of its spec."""

    def __init__(self, spec: TrainingSpec, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = seconds_per_run(spec.max_seconds, spec.split.folds)
        self._clock = clock
        self._counted_to = clock()
        self.spent = 0.0
        """Seconds counted so far, part of the run's state."""

    def start(self) -> None:
        """Count from now on."""
        self._counted_to = self._clock()

    def is_spent(self) -> bool:
        """Count up to now, and return whether the seconds are used up."""
        if self._limit is None:
            return False
        now = self._clock()
        self.spent += now - self._counted_to
        self._counted_to = now
        return self.spent >= self._limit
