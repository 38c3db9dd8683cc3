"""Jobs that take equally long: those that train the same network on the same data for as many
steps. How long earlier ones took says when a waiting one may end."""

from collections.abc import Collection, Mapping
from hashlib import sha256
from statistics import median
from typing import Any

import orjson
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.storage.tables import JobRow

DECISIVE = (
    "dataset",
    "split",
    "model",
    "optimizer",
    "augment",
    "average",
    "epochs",
    "batch_size",
    "max_seconds",
    "patience",
    "device",
    "precision",
    "compile",
    "test_every",
)
"""Fields of a spec that decide on the length of its run."""
REMEMBERED = 9
"""Newest like jobs whose median counts."""


def likeness(spec: Mapping[str, Any]) -> str:
    """Return a hash that is the same for jobs which take equally long."""
    decisive = {name: spec.get(name) for name in DECISIVE}
    if isinstance(optimizer := decisive["optimizer"], dict):
        decisive["optimizer"] = optimizer.get("kind")
    return sha256(orjson.dumps(decisive, option=orjson.OPT_SORT_KEYS)).hexdigest()


def usual_seconds(session: Session, likenesses: Collection[str]) -> dict[str, float]:
    """Return the median of the device-seconds of the newest jobs of each kind that succeeded."""
    number = func.row_number().over(partition_by=JobRow.likeness, order_by=JobRow.seq.desc())
    newest = (
        select(JobRow.likeness, JobRow.device_seconds, number.label("number"))
        .where(JobRow.likeness.in_(likenesses), JobRow.status == "succeeded")
        .subquery()
    )
    found: dict[str, list[float]] = {}
    query = select(newest.c.likeness, newest.c.device_seconds).where(newest.c.number <= REMEMBERED)
    for kind, seconds in session.execute(query):
        found.setdefault(kind, []).append(seconds)
    return {kind: median(seconds) for kind, seconds in found.items()}
