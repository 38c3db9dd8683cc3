"""Route for Prometheus metrics."""

from fastapi import APIRouter, Response

from ml import devices
from service.metrics import CONTENT_TYPE, LookedUpGauge
from service.routes.dependencies import AppComponents, Components

router = APIRouter(tags=["metrics"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_metrics(components: AppComponents) -> Response:
    """Return metrics of requests, queues, batches, models, jobs and devices in Prometheus' text
    format."""
    return Response(components.metrics.text(_gauges(components)), media_type=CONTENT_TYPE)


def _gauges(components: Components) -> list[LookedUpGauge]:
    return [
        LookedUpGauge("epochd_jobs", "Jobs by status.", "status", components.jobs.counts),
        LookedUpGauge(
            "epochd_training_steps_per_second",
            "Training steps per second, summed over all running jobs.",
            None,
            lambda: {"": components.jobs.steps_per_second()},
        ),
        LookedUpGauge(
            "epochd_device_memory_used_bytes",
            "Used memory of each GPU, including other processes.",
            "device",
            _device_memory,
        ),
    ]


def _device_memory() -> dict[str, float]:
    return {f"cuda:{index}": float(used) for index, used in devices.used_bytes().items()}
