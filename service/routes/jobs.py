"""Routes for training jobs."""

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Header, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import Field

from service.errors import (
    Conflict,
    FilesDamaged,
    InsufficientStorage,
    NotFound,
    QueueFull,
    QuotaExceeded,
)
from service.http.problem_json import problems
from service.jobs.limits import admit, check_threads
from service.jobs.schemas import Attempt, Job, JobRequest, LogRecord, MetricRecord
from service.jobs.states import Status
from service.routes.dependencies import WRITES, AppComponents, CurrentCaller
from service.schemas import Page

router = APIRouter(prefix="/jobs", tags=["jobs"])

Limit = Annotated[int, Query(ge=1, le=1000)]
EVENT_STREAM = "text/event-stream"
EventId = Annotated[int, Field(ge=0, le=2**62)]
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255)]

EXAMPLES = {
    "MNIST, all defaults": {"value": {"dataset": {"kind": "mnist"}}},
    "MNIST, the tutorial's settings": {
        "value": {
            "name": "mnist",
            "dataset": {"kind": "mnist"},
            "model": {"kind": "mlp", "hidden": [512, 256], "dropout": [0.2, 0.0]},
            "optimizer": {"kind": "adam", "lr": 0.001},
            "epochs": 10,
            "batch_size": 64,
            "seed": 0,
            "device": "auto",
        }
    },
    "MNIST, a convolutional network and augmented images": {
        "value": {
            "name": "digits",
            "dataset": "mnist",
            "model": {"kind": "cnn", "channels": [32, 64, 128]},
            "augment": [{"crop": 2}, {"rotate": 10}, {"scale": 0.1}],
            "optimizer": {"kind": "adam", "lr": 0.003},
            "schedule": "one_cycle",
            "epochs": 10,
            "batch_size": 128,
        }
    },
    "A line": {
        "value": {
            "name": "line",
            "dataset": {
                "kind": "synthetic",
                "features": {"x": {"linspace": [0, 10]}},
                "target": "3*x + 2",
                "noise": 2.0,
                "size": 100,
            },
            "model": {"kind": "linear"},
            "optimizer": {"kind": "adam", "lr": 0.1},
            "epochs": 200,
            "batch_size": 100,
        }
    },
    "A table, all defaults": {
        "value": {"dataset": {"kind": "upload", "id": "ds_01JD3V0M8Q6W4N2X7Y9Z5K1T3B"}}
    },
    "A table, several targets": {
        "value": {
            "dataset": {
                "kind": "upload",
                "id": "ds_01JD3V0M8Q6W4N2X7Y9Z5K1T3B",
                "target": ["height", "weight"],
            }
        }
    },
    "Layers of your own": {
        "value": {
            "name": "digits",
            "dataset": "mnist",
            "model": {
                "kind": "sequential",
                "layers": [
                    "flatten",
                    {"linear": 128, "name": "fc1"},
                    "relu",
                    {"dropout": 0.2},
                    {"residual": [{"linear": 128}, "relu"]},
                ],
            },
            "optimizer": "adam",
            "schedule": "cosine",
        }
    },
    "Ten minutes, with averaged weights": {
        "value": {
            "dataset": "fashion_mnist",
            "model": "cnn",
            "average": {"kind": "ema", "decay": 0.999},
            "split": {"validation": 0.1},
            "keep_best": True,
            "epochs": 100,
            "max_seconds": 600,
            "test_every": 5,
        }
    },
    "A fit, drawn every twenty epochs": {
        "value": {
            "dataset": {
                "kind": "synthetic",
                "features": {"x": {"linspace": [0, 10]}},
                "target": "3*x + 2",
                "noise": 2.0,
                "size": 100,
            },
            "optimizer": {"kind": "adam", "lr": 0.1},
            "epochs": 200,
            "batch_size": 100,
            "snapshot_every": 20,
        }
    },
    "After other jobs, giving way to those of others": {
        "value": {
            "dataset": "fashion_mnist",
            "model": "cnn",
            "epochs": 50,
            "preemptible": True,
            "after": ["job_01JD3V0M8Q6W4N2X7Y9Z5K1T3B"],
        }
    },
    "Two classes from a formula": {
        "value": {
            "name": "circle",
            "dataset": {
                "kind": "synthetic",
                "features": {"x": {"uniform": [-1.5, 1.5]}, "y": {"uniform": [-1.5, 1.5]}},
                "target": "x**2 + y**2 < 1",
            },
            "model": "mlp",
        }
    },
    "Rare classes, weighted": {
        "value": {
            "name": "circle",
            "dataset": {
                "kind": "synthetic",
                "features": {"x": {"uniform": [-4, 4]}, "y": {"uniform": [-4, 4]}},
                "target": "x**2 + y**2 < 0.4",
                "size": 4000,
            },
            "model": {"kind": "mlp", "hidden": [32]},
            "loss": {"kind": "cross_entropy", "class_weights": "balanced"},
            "optimizer": {"kind": "rmsprop", "lr": 0.01},
            "schedule": {"kind": "cosine", "warmup": 0.1},
        }
    },
    "A plane": {
        "value": {
            "name": "plane",
            "dataset": {
                "kind": "synthetic",
                "features": {
                    "a": {"uniform": [0, 1]},
                    "b": {"uniform": [0, 1]},
                    "c": {"uniform": [0, 1]},
                },
                "target": "2*a + 3*b - 1.5*c",
                "size": 1000,
            },
            "model": {"kind": "linear"},
            "optimizer": {"kind": "sgd", "lr": 0.01},
            "loss": "mse",
            "epochs": 100,
            "batch_size": 32,
        }
    },
}


@router.post(
    "",
    status_code=202,
    responses=problems(Conflict, FilesDamaged, QueueFull, QuotaExceeded, InsufficientStorage),
    dependencies=WRITES,
)
def submit(
    request: Annotated[JobRequest, Body(openapi_examples=EXAMPLES)],
    response: Response,
    components: AppComponents,
    caller: CurrentCaller,
    idempotency_key: IdempotencyKey = None,
) -> Job:
    """Queue a training job. A queued job survives restarts and crashes of the service.

    With an `Idempotency-Key`, a request can be retried safely: a repeated request returns the job
    of the first one, with the header `Idempotent-Replayed: true`.
    """
    with components.datasets.recording_damage():
        admitted = admit(request.spec, components.datasets.seen_by(caller), components.settings)
    check_threads(request.options.threads)
    submitted = components.jobs.submit(
        admitted.spec,
        request.options,
        idempotency_key,
        components.disk_space.refusal(),
        admitted.warnings,
        caller,
    )
    components.nudge()
    response.headers["Location"] = f"/jobs/{submitted.job.id}"
    if submitted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return submitted.job


@router.get("", responses=problems(NotFound))
def list_jobs(
    components: AppComponents,
    caller: CurrentCaller,
    status: Status | None = None,
    name: str | None = None,
    owner: str | None = None,
    limit: Limit = 50,
    after: str | None = None,
) -> Page[Job]:
    """List jobs, newest first."""
    return components.jobs.page(status, name, limit, after, owner, caller)


@router.get("/{job_id}", responses=problems(NotFound))
def get_job(job_id: str, components: AppComponents) -> Job:
    """Return a job with its state, progress and latest metrics."""
    return components.jobs.fetch(job_id)


@router.get("/{job_id}/metrics", responses=problems(NotFound))
def get_metrics(
    job_id: str,
    components: AppComponents,
    level: Literal["epoch", "step", "fold"] | None = None,
    limit: Limit = 1000,
    after: EventId = 0,
) -> Page[MetricRecord]:
    """Return the metric history, oldest first."""
    return components.jobs.metrics(job_id, level, limit, after)


@router.get("/{job_id}/logs", responses=problems(NotFound))
def get_logs(
    job_id: str, components: AppComponents, limit: Limit = 1000, after: EventId = 0
) -> Page[LogRecord]:
    """Return the log lines of the job's trainers, oldest first."""
    return components.jobs.logs(job_id, limit, after)


@router.get("/{job_id}/attempts", responses=problems(NotFound))
def get_attempts(job_id: str, components: AppComponents) -> Page[Attempt]:
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
async def get_events(
    job_id: str,
    components: AppComponents,
    last_event_id: Annotated[EventId | None, Header()] = None,
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
def cancel(job_id: str, components: AppComponents) -> Job:
    """Cancel a waiting job, or stop a running one after its current step."""
    return components.jobs.cancel(job_id)


@router.post(
    "/{job_id}/pause",
    status_code=202,
    responses=problems(NotFound, Conflict),
    dependencies=WRITES,
)
def pause(job_id: str, components: AppComponents) -> Job:
    """Pause a job: take it out of the queue, or if it is running save a checkpoint and stop."""
    return components.jobs.pause(job_id)


@router.post(
    "/{job_id}/resume",
    status_code=202,
    responses=problems(NotFound, Conflict, QueueFull, QuotaExceeded),
    dependencies=WRITES,
)
def resume(job_id: str, components: AppComponents) -> Job:
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
def retry(job_id: str, components: AppComponents, caller: CurrentCaller) -> Job:
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
def delete(job_id: str, components: AppComponents) -> None:
    """Delete a job that is not running, with its history and files. Its model is kept."""
    components.jobs.delete(job_id)
    components.cleanup.delete_checkpoints(job_id)
