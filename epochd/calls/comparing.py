"""The comparison of jobs."""

from collections.abc import Generator, Iterable
from typing import Any

from epochd.calls import jobs
from epochd.calls.call import Call
from epochd.objects import JobState
from epochd.schemas import JobInfo
from epochd.tables import Table, comparison, table

AnyJob = str | JobInfo | JobState
"""A job, by its id or as any of the answers about it."""


def compare(compared: Iterable[AnyJob], /) -> Generator[Call[Any], Any, Table]:
    """Compare jobs: a row for each, with the fields in which their specs differ, and its latest
    metrics. A DataFrame where pandas is installed, else a list of dictionaries."""
    infos: list[JobInfo] = []
    for job in compared:
        known = job.info if isinstance(job, JobState) else job
        if isinstance(known, JobInfo) and known.has_ended:
            infos.append(known)
        else:
            job_id = known.id if isinstance(known, JobInfo) else known
            infos.append((yield from jobs.get(job_id)))
    return table(comparison(infos))
