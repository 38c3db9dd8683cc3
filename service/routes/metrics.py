"""Figures for Prometheus."""

from fastapi import APIRouter, Response

from ml import devices
from service.metrics import CONTENT_TYPE, Gauged
from service.routes.dependencies import Parts, Service

router = APIRouter(tags=["metrics"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(service: Service) -> Response:
    """Requests, queues, batches, models, jobs and devices, in Prometheus' text format."""
    return Response(service.telemetry.text(_gauges(service)), media_type=CONTENT_TYPE)


def _gauges(service: Parts) -> list[Gauged]:
    return [
        Gauged("epochd_jobs", "Jobs by status.", "status", service.jobs.counts),
        Gauged(
            "epochd_training_steps_per_second",
            "Of all running jobs together.",
            None,
            lambda: {"": service.jobs.steps_per_second()},
        ),
        Gauged(
            "epochd_device_memory_used_bytes",
            "Memory of each GPU that is taken, by whomever.",
            "device",
            _device_memory,
        ),
    ]


def _device_memory() -> dict[str, float]:
    return {f"cuda:{index}": float(used) for index, used in devices.used_bytes().items()}
