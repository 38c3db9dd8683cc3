"""Fair share: the owner who has used the devices least of late is next.

A second on a device counts half after each half-life. Only sums and orders are here, no tables.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

ADVANCE_SECONDS = 10.0
"""Seconds for which a running attempt counts at least, so that of two owners with equal use, the
one whose job has just started is not also next."""

Owner = str | None


@dataclass(frozen=True)
class Group:
    """The jobs of an owner that could run now, under one role and with one standing."""

    owner: Owner
    role: str
    standing: int
    """See `JobRow.standing`."""
    first: int
    """Number of the job that was submitted first."""


def faded(seconds: float, age: float, half_life: float) -> float:
    """Return what is left of a sum of device-seconds after `age` seconds."""
    return seconds * math.exp2(-max(age, 0.0) / half_life)


def weighted(began: datetime, ended: datetime, half_life: float) -> float:
    """Return the device-seconds of an attempt at its end, each weighted by its age: the integral
    of 2^(-age / half_life) over the attempt."""
    seconds = max(0.0, (ended - began).total_seconds())
    # Unlike `1 - 2^…`, exact where the attempt is short for the half-life.
    return -half_life / math.log(2) * math.expm1(-math.log(2) * seconds / half_life)


def so_far(began: datetime, now: datetime, half_life: float) -> float:
    """Return the weighted device-seconds of an attempt that runs."""
    return max(ADVANCE_SECONDS, weighted(began, now, half_life))


def in_turn(groups: Iterable[Group], recent: Mapping[Owner, float]) -> list[Group]:
    """Return the groups in the order of their turns: by standing, then by the owner's `recent` use,
    then by submission."""
    return sorted(
        groups, key=lambda group: (group.standing, recent.get(group.owner, 0.0), group.first)
    )
