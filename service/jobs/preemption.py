"""Preemption: which running job gives its trainer to a waiting one."""

from datetime import datetime

from sqlalchemy.orm import Session

from service.jobs.fair_share import Group
from service.jobs.turns import Rules, RunningJob, Turns, read_turns, running_jobs


def victim(session: Session, now: datetime, rules: Rules) -> RunningJob | None:
    """Return the running job that should give way now; see `least_deserving`."""
    if not any(job.is_preemptible for job in running_jobs(session)):
        return None
    return least_deserving(read_turns(session, now, rules))


def least_deserving(turns: Turns) -> RunningJob | None:
    """Return the preemptible job that should give way to the next waiting one, where no trainer is
    free: of those with the lowest standing, the one whose owner has used most of late.

    While a trainer is about to be free, because something is requested of its job, none gives way.
    """
    order = turns.order()
    if not order or any(job.requested_action is not None for job in turns.running):
        return None
    return max(
        (
            job
            for job in turns.running
            if _has_trained(job, turns) and _yields(job, order[0], turns)
        ),
        key=lambda job: (job.standing, turns.recent[job.owner], job.started_at),
        default=None,
    )


def _has_trained(job: RunningJob, turns: Turns) -> bool:
    """Return whether a preemptible job has trained for long enough since it was started."""
    return (
        job.is_preemptible
        and job.training_at is not None
        and turns.now - job.training_at >= turns.rules.preempt_after
    )


def _yields(job: RunningJob, group: Group, turns: Turns) -> bool:
    """Return whether the first job of `group` is more deserving than a running one. Once it runs,
    it is not less deserving before its owner has caught up by twice the margin."""
    if job.standing != group.standing:
        return job.standing > group.standing
    surplus = turns.recent[job.owner] - turns.recent.get(group.owner, 0.0)
    return job.owner != group.owner and surplus > turns.rules.preempt_margin
