"""Training jobs."""

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Query, Response

from ml.specs import TrainingSpec
from service.admission import admit
from service.dependencies import Service
from service.errors import Conflict, NotFound, problems
from service.schemas import Job, MetricRecord, Page, Status

router = APIRouter(prefix="/jobs", tags=["jobs"])

Limit = Annotated[int, Query(ge=1, le=1000)]

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


@router.post("", status_code=202)
def submit(
    spec: Annotated[TrainingSpec, Body(openapi_examples=EXAMPLES)],
    response: Response,
    service: Service,
) -> Job:
    """Queue a training job. It survives whatever happens to the service from here on."""
    admit(spec, service.settings)
    job = service.jobs.submit(spec)
    service.scheduler.nudge()
    response.headers["Location"] = f"/jobs/{job.id}"
    return job


@router.get("", responses=problems(NotFound))
def list_jobs(
    service: Service,
    status: Status | None = None,
    name: str | None = None,
    limit: Limit = 50,
    after: str | None = None,
) -> Page[Job]:
    """Jobs, the newest first."""
    return service.jobs.page(status, name, limit, after)


@router.get("/{job_id}", responses=problems(NotFound))
def get_job(job_id: str, service: Service) -> Job:
    """A job: its state, its progress and its newest figures."""
    return service.jobs.fetch(job_id)


@router.get("/{job_id}/metrics", responses=problems(NotFound))
def get_metrics(
    job_id: str,
    service: Service,
    level: Literal["epoch", "step"] | None = None,
    limit: Limit = 1000,
    after: Annotated[int, Query(ge=0, le=2**62)] = 0,
) -> Page[MetricRecord]:
    """The loss history, the oldest first."""
    return service.jobs.metrics(job_id, level, limit, after)


@router.post("/{job_id}/cancel", status_code=202, responses=problems(NotFound, Conflict))
def cancel(job_id: str, service: Service) -> Job:
    """Cancel a queued job, or stop a running one between two steps."""
    return service.jobs.cancel(job_id)
