"""The order of turns: the jobs that wait, those that run, and the quotas that hold jobs back.

`claim` takes the first job in turn, preemption compares it with what runs, and `GET /queue` shows
the order.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from service.jobs import use
from service.jobs.fair_share import Group, Owner, in_turn, so_far
from service.settings import Settings
from service.settings.quotas import Quotas, counted
from service.storage.database import serialize
from service.storage.owned_rows import owned_by
from service.storage.tables import AttemptRow, JobRow

CLAIM_LOCK = 0x65706F63686463
"""Key of PostgreSQL's lock under which jobs are claimed: `epochdc`."""


@dataclass(frozen=True)
class Rules:
    """The operator's rules of sharing."""

    half_life: float
    quotas: Quotas
    preempt_after: timedelta
    """Time for which a preemptible job trains before it may be preempted."""
    preempt_margin: float

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        """Return the rules in the settings."""
        return cls(
            settings.fair_share_half_life_seconds,
            Quotas(settings.quotas),
            timedelta(seconds=settings.preempt_after_seconds),
            settings.preempt_margin_seconds,
        )


@dataclass(frozen=True)
class RunningJob:
    """A job that holds a trainer."""

    id: str
    attempt: int
    owner: Owner
    role: str
    standing: int
    is_preemptible: bool
    requested_action: str | None
    started_at: datetime
    training_at: datetime | None
    """Time at which its attempt began to train."""


@dataclass(frozen=True)
class Hold:
    """A quota that keeps an owner's jobs in the queue."""

    reason: str
    until: datetime | None = None
    """Time at which it frees, if that is known."""


@dataclass(frozen=True)
class Turns:
    """The state of the queue at a time."""

    now: datetime
    rules: Rules
    groups: Sequence[Group]
    running: Sequence[RunningJob]
    recent: Mapping[Owner, float]
    """Weighted device-seconds of each owner, with attempts that run."""
    today: Mapping[Owner, float] = field(default_factory=dict)
    """Device-seconds of each owner today, with attempts that run."""

    def order(self) -> list[Group]:
        """Return the groups whose jobs may run now, the next one first."""
        return in_turn(
            (group for group in self.groups if self.hold(group.owner, group.role) is None),
            self.recent,
        )

    def hold(self, owner: Owner, role: str) -> Hold | None:
        """Return the quota that keeps the jobs of an owner in the queue, if there is one."""
        return next(self._holds(owner, role), None) if self.rules.quotas else None

    def _holds(self, owner: Owner, role: str) -> Iterator[Hold]:
        limits, whose = self.rules.quotas.of(role, owner), owner or role
        running = sum(job.owner == owner for job in self.running)
        if limits.running is not None and running >= limits.running:
            yield Hold(
                f"{whose} has {counted(running)} running, and the quota is {limits.running}; the "
                "next starts when one of them ends"
            )
        used, limit = self.today.get(owner, 0.0), limits.device_seconds_per_day
        if limit is not None and used >= limit:
            yield Hold(
                f"{whose} has used {used:,.0f} device-seconds today, and the quota is "
                f"{limit:,.0f}; it frees at midnight UTC",
                use.start_of_next_day(self.now),
            )


def first_in_turn(session: Session, now: datetime, rules: Rules) -> tuple[str, int] | None:
    """Return the id and the attempt of the job whose turn it is, locked in a writing session."""
    serialize(session, CLAIM_LOCK)
    for group in read_turns(session, now, rules).order():
        first = session.execute(
            select(JobRow.id, JobRow.attempt)
            .where(*runnable(now), *of_group(group))
            .order_by(JobRow.rank, JobRow.seq)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).one_or_none()
        if first is not None:
            return first.id, first.attempt
    return None


def read_turns(session: Session, now: datetime, rules: Rules) -> Turns:
    """Return the state of the queue."""
    groups = [
        Group(*row)
        for row in session.execute(
            select(JobRow.owner, JobRow.role, JobRow.standing, func.min(JobRow.seq))
            .where(*runnable(now))
            .group_by(JobRow.owner, JobRow.role, JobRow.standing)
        )
    ]
    running = running_jobs(session)
    owners = {group.owner for group in groups} | {job.owner for job in running}
    recent = use.recent(session, owners, now, rules.half_life)
    today: dict[Owner, float] = {}
    if rules.quotas.sets("device_seconds_per_day"):
        today = use.on_day(session, now.date())
    for job in running:
        recent[job.owner] = recent.get(job.owner, 0.0) + so_far(
            job.started_at, now, rules.half_life
        )
        for day, seconds in use.by_day(job.started_at, now):
            if day == now.date():
                today[job.owner] = today.get(job.owner, 0.0) + seconds
    return Turns(now, rules, groups, running, recent, today)


def running_jobs(session: Session) -> list[RunningJob]:
    """Return the jobs that hold trainers."""
    query = select(
        JobRow.id,
        JobRow.attempt,
        JobRow.owner,
        JobRow.role,
        JobRow.standing,
        JobRow.options,
        JobRow.requested_action,
        JobRow.started_at,
        AttemptRow.training_at,
    ).join(AttemptRow, (AttemptRow.job_id == JobRow.id) & (AttemptRow.attempt == JobRow.attempt))
    return [
        RunningJob(
            row.id,
            row.attempt,
            row.owner,
            row.role,
            row.standing,
            bool(row.options.get("preemptible")),
            row.requested_action,
            row.started_at,
            row.training_at,
        )
        for row in session.execute(query.where(JobRow.status == "running"))
    ]


def runnable(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of queued jobs that are due and wait for no other job."""
    return (
        JobRow.status == "queued",
        JobRow.waits_for == 0,
        or_(JobRow.not_before.is_(None), JobRow.not_before <= now),
    )


def of_group(group: Group) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of the jobs of a group."""
    return (
        owned_by(JobRow.owner, group.owner),
        JobRow.role == group.role,
        JobRow.standing == group.standing,
    )
