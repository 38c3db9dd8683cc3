"""Routes for training jobs."""

import asyncio
from contextlib import suppress
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import Field

from service.access.caller import Caller
from service.errors import (
    Conflict,
    DeadlineExceeded,
    FilesDamaged,
    InsufficientStorage,
    NotFound,
    QueueFull,
    QuotaExceeded,
)
from service.http.problem_json import problems
from service.jobs.limits import Admitted, admit, check_threads
from service.jobs.schemas import (
    Attempt,
    Job,
    JobChange,
    JobOptions,
    JobRequest,
    LogRecord,
    MetricRecord,
)
from service.jobs.states import ENDED, Status
from service.jobs.store import Submitted
from service.routes.dependencies import WRITES, AppComponents, Components, CurrentCaller
from service.routes.job_examples import CHANGES, EXAMPLES
from service.routes.parameters import JobCursor, JobId, Limit, Owner
from service.schemas import Page
from service.work.attended import AttendedRequest

router = APIRouter(prefix="/jobs", tags=["jobs"])

EVENT_STREAM = "text/event-stream"
EventId = Annotated[int, Field(ge=0, le=2**62)]
AfterJob = Annotated[
    JobCursor | None,
    Query(description="Id of the last job of the page before, its `next`; it may be deleted."),
]
AfterEvent = Annotated[
    EventId, Query(description="Id of the last item of the page before, its `next`.")
]
Wait = Annotated[
    float,
    Query(ge=0, le=60, description="Seconds to wait for the end of the job; by default none."),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="Any string, which a repeated request has again and another one has not.",
    ),
]


@router.post(
    "",
    status_code=202,
    responses=problems(
        NotFound, Conflict, FilesDamaged, QueueFull, QuotaExceeded, InsufficientStorage
    )
    | {200: {"model": Job, "description": "The job has ended within the time of `wait`."}},
)
async def submit_job(
    request: Annotated[JobRequest, Body(openapi_examples=EXAMPLES)],
    http_request: Request,
    response: Response,
    components: AppComponents,
    caller: CurrentCaller,
    idempotency_key: IdempotencyKey = None,
    wait: Wait = 0.0,
) -> Job:
    """Queue a training job. A queued job survives restarts and crashes of the service.

    With `wait`, the response comes when the job has ended, with the status 200, or when the time
    is over, with 202 and the job as it is then.

    With an `Idempotency-Key`, a request can be retried safely: a repeated request returns the job
    of the first one, with the header `Idempotent-Replayed: true`.
    """
    # The first admission of a process takes seconds. Neither it nor the wait needs a turn to write.
    admitted = await run_in_threadpool(_admit, request, components, caller)
    async with components.write_turns.turn():
        submitted = await run_in_threadpool(
            _submit, admitted, request.options, components, caller, idempotency_key
        )
    job = submitted.job
    components.nudge()
    if wait:
        await _wait(http_request, components, job.id, wait)
        job = await run_in_threadpool(components.jobs.fetch, job.id)
        if job.status in ENDED:
            response.status_code = 200
    response.headers["Location"] = f"/jobs/{job.id}"
    if submitted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return job


def _admit(request: JobRequest, components: Components, caller: Caller) -> Admitted:
    with components.datasets.recording_damage():
        admitted = admit(request.spec, components.datasets.seen_by(caller), components.settings)
    check_threads(request.options.threads)
    return admitted


def _submit(
    admitted: Admitted,
    options: JobOptions,
    components: Components,
    caller: Caller,
    idempotency_key: str | None,
) -> Submitted:
    return components.jobs.submit(
        admitted.spec,
        options,
        idempotency_key,
        components.disk_space.refusal(),
        admitted.warnings,
        caller,
    )


async def _wait(request: Request, components: Components, job_id: str, seconds: float) -> None:
    """Return when a job has ended, or after some seconds.

    Raises:
        NotFound: no job has this id.
        ClientGone: the client disconnected.
    """
    await request.body()  # what the client sends after it is its disconnect
    attended = AttendedRequest(request.receive, seconds)
    with suppress(DeadlineExceeded):
        await attended.wait(asyncio.ensure_future(components.event_streams.ended(job_id)))


@router.get("")
def list_jobs(
    components: AppComponents,
    caller: CurrentCaller,
    status: Annotated[
        list[Status],
        Query(default_factory=list, max_length=6, description="Status, or repeated, several."),
    ],
    name: Annotated[str | None, Query(description="Name of the job and its model.")] = None,
    owner: Owner = None,
    limit: Limit = 50,
    after: AfterJob = None,
) -> Page[Job]:
    """List jobs, newest first."""
    return components.jobs.page(status, name, limit, after, owner, caller)


@router.get("/{job_id}", responses=problems(NotFound))
async def get_job(
    job_id: JobId, request: Request, components: AppComponents, wait: Wait = 0.0
) -> Job:
    """Return a job with its state, progress and latest metrics. With `wait`, the response comes
    when the job has ended, or when the time is over."""
    if wait:
        await _wait(request, components, job_id, wait)
    return await run_in_threadpool(components.jobs.fetch, job_id)


@router.patch(
    "/{job_id}",
    responses=problems(NotFound, Conflict),
    dependencies=WRITES,
)
def change_job(
    job_id: JobId,
    change: Annotated[JobChange, Body(openapi_examples=CHANGES)],
    components: AppComponents,
    caller: CurrentCaller,
) -> Job:
    """Change the priority of a job that has not succeeded: a queued one changes its place in the
    queue. Change its name, unless it runs: it is the name of the model that the job will make."""
    return components.jobs.change(job_id, change, caller)


@router.get("/{job_id}/metrics", responses=problems(NotFound))
def get_job_metrics(
    job_id: JobId,
    components: AppComponents,
    level: Annotated[
        Literal["epoch", "step", "fold"] | None,
        Query(description="Reports to return; by default, those of all levels."),
    ] = None,
    limit: Limit = 1000,
    after: AfterEvent = 0,
) -> Page[MetricRecord]:
    """Return the metric history, oldest first."""
    return components.jobs.metrics(job_id, level, limit, after)


@router.get("/{job_id}/logs", responses=problems(NotFound))
def get_job_logs(
    job_id: JobId, components: AppComponents, limit: Limit = 1000, after: AfterEvent = 0
) -> Page[LogRecord]:
    """Return the log lines of the job's trainers, oldest first."""
    return components.jobs.logs(job_id, limit, after)


@router.get("/{job_id}/attempts", responses=problems(NotFound))
def list_job_attempts(job_id: JobId, components: AppComponents) -> Page[Attempt]:
    """List the attempts at a job: trainer, start, end and outcome of each."""
    return Page(data=components.jobs.attempts(job_id), next=None)


@router.get(
    "/{job_id}/events",
    response_class=StreamingResponse,
    responses=problems(NotFound)
    | {
        200: {"content": {EVENT_STREAM: {}}},
        204: {"description": "The job has ended, and all its events were sent."},
    },
)
async def stream_job_events(
    job_id: JobId,
    components: AppComponents,
    last_event_id: Annotated[
        EventId | None,
        Header(description="Id of the last event received; by default, all events are sent."),
    ] = None,
) -> Response:
    """Stream the job's events as server-sent events: its history from the start, or after
    `Last-Event-ID`, followed by new events until the job ends.

    Event names are `status`, `log`, `step` and `epoch`; the data is a JSON object.
    """
    last = last_event_id or 0
    page = await run_in_threadpool(components.jobs.events, job_id, last, 1)
    if last_event_id is not None and page.over and not page.events:
        # 204 stops a browser from reconnecting.
        return Response(status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        components.event_streams.watch(job_id, last), headers=headers, media_type=EVENT_STREAM
    )


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    responses=problems(NotFound, Conflict),
    dependencies=WRITES,
)
def cancel_job(job_id: JobId, components: AppComponents) -> Job:
    """Cancel a waiting job, or stop a running one after its current step."""
    return components.jobs.cancel(job_id)


@router.post(
    "/{job_id}/pause",
    status_code=202,
    responses=problems(NotFound, Conflict),
    dependencies=WRITES,
)
def pause_job(job_id: JobId, components: AppComponents) -> Job:
    """Pause a job: take it out of the queue, or if it is running save a checkpoint and stop."""
    return components.jobs.pause(job_id)


@router.post(
    "/{job_id}/resume",
    status_code=202,
    responses=problems(NotFound, Conflict, QueueFull, QuotaExceeded),
    dependencies=WRITES,
)
def resume_job(job_id: JobId, components: AppComponents) -> Job:
    """Put a paused job back into the queue, where it continues from where it stopped, or take back
    the pause of a running job that has not stopped yet."""
    job = components.jobs.resume(job_id)
    components.nudge()
    return job


@router.post(
    "/{job_id}/retry",
    status_code=202,
    responses=problems(NotFound, Conflict, QueueFull, QuotaExceeded),
    dependencies=WRITES,
)
def retry_job(job_id: JobId, components: AppComponents, caller: CurrentCaller) -> Job:
    """Put a failed or cancelled job back into the queue; it continues from its last checkpoint."""
    job = components.jobs.retry(job_id, caller)
    components.nudge()
    return job


@router.delete(
    "/{job_id}",
    status_code=204,
    responses=problems(NotFound, Conflict),
    dependencies=WRITES,
)
def delete_job(job_id: JobId, components: AppComponents) -> None:
    """Delete a job that is not running, with its history and files. Its model is kept."""
    components.jobs.delete(job_id)
    components.cleanup.delete_checkpoints(job_id)
