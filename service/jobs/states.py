"""The state machine of a job: the transitions between statuses that each verb makes.

This table is the only definition of the transitions; `docs/internals/jobs.md` draws it.
"""

from typing import Literal

Status = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
Verb = Literal[
    "claim", "succeed", "fail", "release", "preempt", "pause", "cancel", "resume", "retry"
]
RequestedAction = Literal["pause", "cancel", "preempt"]
"""An action requested of a running job, which its attempt performs between two steps."""

EDGES: dict[Verb, dict[Status, Status]] = {
    "claim": {"queued": "running"},
    "succeed": {"running": "succeeded"},
    "fail": {"running": "failed", "queued": "failed", "paused": "failed"},
    "release": {"running": "queued"},
    "preempt": {"running": "queued"},
    "pause": {"queued": "paused", "running": "paused"},
    "cancel": {"queued": "cancelled", "paused": "cancelled", "running": "cancelled"},
    "resume": {"paused": "queued"},
    "retry": {"failed": "queued", "cancelled": "queued"},
}
ENDED: frozenset[Status] = frozenset({"succeeded", "failed", "cancelled"})
BY_USERS: frozenset[RequestedAction] = frozenset({"pause", "cancel"})
"""Actions that users request: they were acknowledged, so they count even if the run ends or its
trainer dies first."""
