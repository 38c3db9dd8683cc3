"""Model statistics in the format of Triton's statistics extension."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry

from service.metrics import INFERENCE
from service.schemas import ModelRef

Figures = defaultdict[str, float]
ALL_SIZES = 0


def model_statistics(
    registry: CollectorRegistry, versions: Iterable[ModelRef]
) -> list[dict[str, Any]]:
    """Return the statistics of each version: counts of requests and durations of batches."""
    figures = _figures(registry)
    return [_model_statistics(ref, figures[ref.name, str(ref.version)]) for ref in versions]


def _figures(
    registry: CollectorRegistry,
) -> defaultdict[tuple[str, str], defaultdict[int, Figures]]:
    """Return all metric values by model and version, batch size and metric name."""
    figures: defaultdict[tuple[str, str], defaultdict[int, Figures]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(float))
    )
    for metric in registry.collect():
        if not metric.name.startswith(INFERENCE):
            continue
        for sample in metric.samples:
            labels = sample.labels
            if "le" not in labels:
                size = int(labels.get("size", ALL_SIZES))
                of_size = figures[labels["model"], labels["version"]][size]
                of_size[sample.name.removeprefix(f"{INFERENCE}_")] = sample.value
    return figures


def _model_statistics(ref: ModelRef, by_size: defaultdict[int, Figures]) -> dict[str, Any]:
    total = by_size[ALL_SIZES]
    answered, queue = total["queue_duration_seconds_count"], total["queue_duration_seconds_sum"]
    batches, compute = total["batch_rows_count"], total["compute_duration_seconds_sum"]
    return {
        "name": ref.name,
        "version": str(ref.version),
        "last_inference": int(1000 * total["last_timestamp_seconds"]),
        "inference_count": int(total["batch_rows_sum"]),
        "execution_count": int(batches),
        "inference_stats": {
            "success": _duration(answered, queue + compute),
            "fail": _duration(total["failures_total"], 0.0),
            "queue": _duration(answered, queue),
            **_computed(batches, compute),
        },
        "batch_stats": [
            {
                "batch_size": size,
                **_computed(
                    of_size["batch_duration_seconds_count"], of_size["batch_duration_seconds_sum"]
                ),
            }
            for size, of_size in sorted(by_size.items())
            if size != ALL_SIZES
        ],
    }


def _computed(batches: float, seconds: float) -> dict[str, dict[str, int]]:
    # Input and output processing is not timed separately.
    return {
        "compute_input": _duration(batches, 0.0),
        "compute_infer": _duration(batches, seconds),
        "compute_output": _duration(batches, 0.0),
    }


def _duration(count: float, seconds: float) -> dict[str, int]:
    return {"count": int(count), "ns": round(1e9 * seconds)}
