"""Statistics by batch size, with a bounded number of sizes."""

from typing import Any

import pytest

from service.metrics import Metrics
from service.open_inference.statistics import model_statistics
from service.schemas import ModelRef

LINE = ModelRef(name="line", version=1)
OTHER = ModelRef(name="line", version=2)


def model_stats(metrics: Metrics, ref: ModelRef = LINE) -> dict[str, Any]:
    [statistics] = model_statistics(metrics.registry(), [ref])
    return statistics


def test_batches_are_counted_by_size() -> None:
    metrics = Metrics()
    for rows, seconds in ((1, 0.5), (256, 2), (1, 0.25), (3, 1)):
        metrics.for_model(LINE).record(rows, [0.125], seconds)
    metrics.for_model(OTHER).record(7, [0.0, 0.0], 8)
    statistics = model_stats(metrics)
    assert statistics["batch_stats"] == [
        {
            "batch_size": size,
            "compute_input": {"count": count, "ns": 0},
            "compute_infer": {"count": count, "ns": ns},
            "compute_output": {"count": count, "ns": 0},
        }
        for size, count, ns in ((1, 2, 750_000_000), (3, 1, 10**9), (256, 1, 2 * 10**9))
    ]
    assert statistics["inference_count"] == 261
    assert statistics["execution_count"] == 4
    assert statistics["inference_stats"]["compute_infer"] == {"count": 4, "ns": 3_750_000_000}
    assert statistics["inference_stats"]["queue"] == {"count": 4, "ns": 500_000_000}
    assert statistics["inference_stats"]["success"] == {"count": 4, "ns": 4_250_000_000}
    assert [stat["batch_size"] for stat in model_stats(metrics, OTHER)["batch_stats"]] == [7]


def test_unused_model_has_no_batches() -> None:
    metrics = Metrics()
    metrics.for_model(OTHER).record(1, [0.0], 1)
    metrics.record_failure(LINE)
    statistics = model_stats(metrics)
    assert statistics["batch_stats"] == []
    assert statistics["last_inference"] == statistics["execution_count"] == 0
    assert statistics["inference_stats"]["fail"]["count"] == 1


@pytest.mark.parametrize(
    ("rows", "size"), [(255, 255), (256, 256), (257, 512), (512, 512), (513, 1024), (10_000, 16384)]
)
def test_batch_sizes_are_rounded(rows: int, size: int) -> None:
    metrics = Metrics()
    metrics.for_model(LINE).record(rows, [0.0], 1)
    assert [stat["batch_size"] for stat in model_stats(metrics)["batch_stats"]] == [size]


def test_batch_sizes_are_bounded_and_add_no_prometheus_series() -> None:
    metrics = Metrics()
    meters = metrics.for_model(LINE)
    meters.record(1, [0.0], 1)
    few = metrics.text([])
    for rows in range(1, 10_001):
        meters.record(rows, [0.0], 1)
    assert len(model_stats(metrics)["batch_stats"]) == 262
    many = metrics.text([])
    assert few.count(b"\n") == many.count(b"\n")
    assert b'epochd_inference_batch_rows_count{model="line",version="1"} 10001.0' in many
