"""When waiting jobs may start: the turns of owners, played through with the time that each job is
expected to take. Nothing here knows tables."""

import heapq
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from service.jobs.fair_share import ADVANCE_SECONDS, Group, Owner, so_far
from service.jobs.turns import RunningJob, Turns

ASSUMED_SECONDS = 60.0
"""Duration that a job of unknown length has for the order of those behind it."""
MAX_EXPONENT = 500.0
FOREVER = timedelta(days=366)
"""Starts further ahead are unknown."""


@dataclass(frozen=True)
class WaitingJob:
    """A job that waits for its turn only."""

    id: str
    group: Group
    seconds: float | None
    """Expected device-seconds until its end; None if unknown."""


@dataclass(frozen=True)
class Start:
    """The expected start of a waiting job; None if a job before it has an unknown length."""

    job_id: str
    at: datetime | None


@dataclass(frozen=True)
class _Run:
    """A job on a trainer, in seconds from now."""

    owner: Owner
    began: float
    ends: float


def starts(
    turns: Turns,
    waiting: Sequence[WaitingJob],
    remaining: Mapping[str, float | None],
    trainers: int,
) -> Iterator[Start]:
    """Yield the expected starts of `waiting` jobs, in the order of their turns. Within a group
    they are in the order of their own; `remaining` has the seconds that running jobs still take.

    Jobs that a quota keeps back until tomorrow are left out.
    """
    queues: dict[Group, deque[WaitingJob]] = {}
    for job in waiting:
        queues.setdefault(replace(job.group, first=0), deque()).append(job)
    queues = {group: queue for group, queue in queues.items() if not _is_over(turns, group)}
    limits = {group: _running_limit(turns, group) for group in queues}
    use = _Use(turns)
    free = _trainers(turns.running, remaining, trainers)
    for running in turns.running:
        began, left = (running.started_at - turns.now).total_seconds(), remaining.get(running.id)
        use.begin(_Run(running.owner, began, ASSUMED_SECONDS if left is None else left))
    while queues and free:
        at, number, is_known = heapq.heappop(free)
        use.end_until(at)
        group = _next_group(queues, limits, use, at)
        if group is None:
            following = use.next_end()
            if following is None:
                return
            heapq.heappush(free, (following, number, is_known))
            continue
        job = queues[group].popleft()
        if not queues[group]:
            del queues[group]
        expected = timedelta(seconds=at) if is_known and at < FOREVER.total_seconds() else None
        yield Start(job.id, None if expected is None else turns.now + expected)
        ends = at + (ASSUMED_SECONDS if job.seconds is None else job.seconds)
        use.begin(_Run(group.owner, at, ends))
        heapq.heappush(free, (ends, number, is_known and job.seconds is not None))


class _Use:
    """Weighted device-seconds of owners as time goes on.

    They are all stated as of the start: instead of letting the past fade, later seconds count
    more, which leaves the order as it is.
    """

    def __init__(self, turns: Turns) -> None:
        self._half_life = turns.rules.half_life
        self._ended: dict[Owner, float] = dict(turns.recent)
        for job in turns.running:
            self._ended[job.owner] -= so_far(job.started_at, turns.now, self._half_life)
        self._runs: dict[Owner, list[_Run]] = {}
        self._ends: list[tuple[float, int, _Run]] = []
        self._begun = 0

    def begin(self, run: _Run) -> None:
        self._begun += 1
        heapq.heappush(self._ends, (run.ends, self._begun, run))
        self._runs.setdefault(run.owner, []).append(run)

    def end_until(self, at: float) -> None:
        """End the runs whose time has come."""
        while self._ends and self._ends[0][0] <= at:
            _, _, run = heapq.heappop(self._ends)
            self._runs[run.owner].remove(run)
            self._ended[run.owner] = self._ended.get(run.owner, 0.0) + self._sum(run, run.ends)

    def next_end(self) -> float | None:
        """Return the time at which the next run ends."""
        return self._ends[0][0] if self._ends else None

    def running(self, owner: Owner) -> int:
        """Return the number of an owner's jobs that run."""
        return len(self._runs.get(owner, ()))

    def of(self, owner: Owner, at: float) -> float:
        """Return the use of an owner."""
        ended = self._ended.get(owner, 0.0)
        if not (runs := self._runs.get(owner)):
            return ended
        least = ADVANCE_SECONDS * self._weight(at)
        return ended + sum(max(least, self._sum(run, at)) for run in runs)

    def _sum(self, run: _Run, at: float) -> float:
        weights = self._weight(at) - self._weight(run.began)
        return self._half_life / math.log(2) * weights

    def _weight(self, at: float) -> float:
        return math.exp2(min(at / self._half_life, MAX_EXPONENT))


def _next_group(
    queues: Mapping[Group, deque[WaitingJob]], limits: Mapping[Group, float], use: _Use, at: float
) -> Group | None:
    def key(group: Group) -> tuple[int, float, int]:
        return group.standing, use.of(group.owner, at), queues[group][0].group.first

    free = (group for group in queues if use.running(group.owner) < limits[group])
    return min(free, key=key, default=None)


def _running_limit(turns: Turns, group: Group) -> float:
    limit = turns.rules.quotas.of(group.role, group.owner).running
    return math.inf if limit is None else limit


def _is_over(turns: Turns, group: Group) -> bool:
    """Return whether a quota keeps the jobs of a group back until tomorrow."""
    hold = turns.hold(group.owner, group.role)
    return hold is not None and hold.until is not None


def _trainers(
    running: Sequence[RunningJob], remaining: Mapping[str, float | None], count: int
) -> list[tuple[float, int, bool]]:
    """Return a heap of the times at which trainers are free, and whether they are known."""
    busy = [remaining.get(job.id) for job in running]
    free = [(ASSUMED_SECONDS if left is None else left, left is not None) for left in busy]
    free += [(0.0, True)] * (count - len(free))
    heap = [(at, number, is_known) for number, (at, is_known) in enumerate(free)]
    heapq.heapify(heap)
    return heap
