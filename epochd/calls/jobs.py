"""Calls about jobs."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from epochd.calls.call import (
    Call,
    call,
    given,
    pages,
    path,
    reads,
    reads_list,
    reads_nothing,
    reads_page,
)
from epochd.pictures import Form, Picture
from epochd.schemas import Attempt, ChartSummary, JobInfo, LogRecord, MetricRecord, Page
from epochd.tables import Table, table

JOB = reads(JobInfo)


def train(
    spec: Mapping[str, Any] | None = None,
    /,
    *,
    idempotency_key: str | None = None,
    **fields: Any,
) -> Call[JobInfo]:
    """Submit a job, given as a document, as keywords, or as a document with some changed.

    A request that has to be repeated makes no second job: it has an `Idempotency-Key`, by default
    a new one each time.
    """
    headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
    return call("POST", "/jobs", JOB, json={**(spec or {}), **fields}, headers=headers).repeatable()


def get(job_id: str) -> Call[JobInfo]:
    """Ask the service for the state of the job."""
    return call("GET", path("jobs", job_id), JOB)


def listed(
    *,
    status: str | Sequence[str] | None = None,
    name: str | None = None,
    owner: str | None = None,
    limit: int | None = 50,
) -> Generator[Call[Any], Any, list[JobInfo]]:
    """Return jobs, those of one status or several, newest first; all of them if `limit` is None."""

    def page(after: str | None, size: int) -> Call[Page[JobInfo]]:
        params = {"status": status, "name": name, "owner": owner, "limit": size, "after": after}
        return call("GET", "/jobs", reads_page(JobInfo), params=params)

    return pages(page, limit)


def metrics(job_id: str, level: str | None = None) -> Generator[Call[Any], Any, Table]:
    """Return the metrics of each step, epoch or fold (`level`), the oldest first: as a DataFrame
    where pandas is installed, else as a list of dictionaries."""

    def page(after: str | None, size: int) -> Call[Page[MetricRecord]]:
        params = {"level": level, "limit": size, "after": after}
        return call("GET", path("jobs", job_id, "metrics"), reads_page(MetricRecord), params=params)

    records = yield from pages(page, None)
    return table(
        {"level": record.level, "epoch": record.epoch, "step": record.step}
        | record.values
        | {"created_at": record.created_at}
        for record in records
    )


def logs(job_id: str) -> Generator[Call[Any], Any, list[LogRecord]]:
    """Return the log lines of the job's trainers, the oldest first."""

    def page(after: str | None, size: int) -> Call[Page[LogRecord]]:
        params = {"limit": size, "after": after}
        return call("GET", path("jobs", job_id, "logs"), reads_page(LogRecord), params=params)

    return pages(page, None)


def attempts(job_id: str) -> Call[list[Attempt]]:
    """Return the attempts at the job."""
    return call("GET", path("jobs", job_id, "attempts"), reads_list(Attempt))


def events(job_id: str, last: int) -> Call[None]:
    """Open the stream of the events after event `last`."""
    headers = {"Last-Event-ID": str(last), "Accept": "text/event-stream"}
    return call("GET", path("jobs", job_id, "events"), reads_nothing, headers=headers)


def charts(job_id: str) -> Call[list[ChartSummary]]:
    """Return the charts of the job, including those that are not ready yet."""
    return call("GET", path("jobs", job_id, "charts"), reads_list(ChartSummary))


def chart(job_id: str, name: str, form: Form = "svg") -> Call[Picture]:
    """Return a chart: the bytes of a file, which a notebook shows as a picture. `json` is its
    Vega-Lite specification."""
    return call(
        "GET",
        path("jobs", job_id, "charts", f"{name}.{form}"),
        lambda response: Picture(response.content, form),
    )


def change(job_id: str, *, name: str | None = None, priority: int | None = None) -> Call[JobInfo]:
    """Change the priority of the job, or while it waits, the name of the model it will make."""
    document = given(name=name, priority=priority)
    return call("PATCH", path("jobs", job_id), JOB, json=document).repeatable()


def cancel(job_id: str) -> Call[JobInfo]:
    """Cancel the job: at once if it waits, after its current step if it runs."""
    return _requested(job_id, "cancel")


def pause(job_id: str) -> Call[JobInfo]:
    """Pause the job: take it out of the queue, or save a checkpoint and stop."""
    return _requested(job_id, "pause")


def resume(job_id: str) -> Call[JobInfo]:
    """Put the paused job back into the queue, where it continues from where it stopped."""
    return _requested(job_id, "resume")


def retry(job_id: str) -> Call[JobInfo]:
    """Put the failed or cancelled job back into the queue."""
    return _requested(job_id, "retry")


def delete(job_id: str) -> Call[None]:
    """Delete the job, which must not run, with its history and files. Its model is kept."""
    return call("DELETE", path("jobs", job_id), reads_nothing)


def _requested(job_id: str, action: str) -> Call[JobInfo]:
    return call("POST", path("jobs", job_id, action), JOB)
