"""Prometheus metrics. Names follow its conventions and Triton's terms."""

import collections
import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.schemas import ModelRef

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096, 16384)
EXACT_SIZES = 256
"""Maximum rows of a batch that is counted under its exact size."""
MODEL_LABELS = ("model", "version")
INFERENCE = "epochd_inference"
BATCH_DURATION_BY_SIZE = f"{INFERENCE}_batch_duration_seconds"
"""Shown only in the statistics of `/v2`: Prometheus would get hundreds of series per model."""


class Durations(Histogram):
    """A histogram that observes many values at once, because its locks cost more than counting."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        if len(amounts) == 1:
            self.observe(amounts[0])
            return
        counts = collections.Counter(bisect_left(self._upper_bounds, amount) for amount in amounts)
        self._sum.inc(sum(amounts))
        for index, count in counts.items():
            self._buckets[index].inc(count)


@dataclass(frozen=True)
class ModelMetrics:
    """Metrics of one model version."""

    queue: Durations
    compute: Histogram
    batch: Histogram
    by_size: Callable[[int], Summary]
    """Durations by batch size, hidden from Prometheus."""
    last: Gauge

    def record(self, rows: int, waits: Sequence[float], seconds: float) -> None:
        """Count a batch of `rows`, computed in `seconds`. `waits` holds, for each request, the
        seconds from its arrival to the start of the batch."""
        self.queue.observe_all(waits)
        self.compute.observe(seconds)
        self.batch.observe(rows)
        self.by_size(batch_size(rows)).observe(seconds)
        self.last.set_to_current_time()


def batch_size(rows: int) -> int:
    """Return the size under which a batch is counted: its rows or, above `EXACT_SIZES`, the next
    power of two, which limits the number of sizes."""
    return rows if rows <= EXACT_SIZES else 1 << (rows - 1).bit_length()


@dataclass(frozen=True)
class LookedUpGauge:
    """A gauge whose values are computed for each scrape."""

    name: str
    help: str
    label: str | None
    values: Callable[[], dict[str, float]]
    """Values by label; without a label, the only key is the empty string."""


class Metrics:
    """Metrics of this process; with several web processes, the sums over all of them."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Durations(
            "epochd_http_request_duration_seconds",
            "Time from a request's first byte to the last byte of its answer.",
            ("method", "route", "status"),
            buckets=SECONDS,
            registry=registry,
        )
        self._queue = Durations(
            "epochd_inference_queue_duration_seconds",
            "Time a prediction request waited for its batch to start.",
            MODEL_LABELS,
            buckets=SECONDS,
            registry=registry,
        )
        self._compute = Histogram(
            "epochd_inference_compute_duration_seconds",
            "Duration of a batch.",
            MODEL_LABELS,
            buckets=SECONDS,
            registry=registry,
        )
        self._batch = Histogram(
            "epochd_inference_batch_rows",
            "Rows of a batch.",
            MODEL_LABELS,
            buckets=ROWS,
            registry=registry,
        )
        self._by_size = Summary(
            BATCH_DURATION_BY_SIZE,
            "Duration of batches by size.",
            (*MODEL_LABELS, "size"),
            registry=registry,
        )
        self._last = Gauge(
            "epochd_inference_last_timestamp_seconds",
            "Unix time at which the last batch ended.",
            MODEL_LABELS,
            registry=registry,
            multiprocess_mode="max",
        )
        self._failures = Counter(
            "epochd_inference_failures_total",
            "Prediction requests that failed.",
            MODEL_LABELS,
            registry=registry,
        )
        self._unknown = Counter(
            "epochd_unknown_values_total",
            "Values in prediction requests that are no category of the model.",
            MODEL_LABELS,
            registry=registry,
        )
        self._loaded = Gauge(
            "epochd_models_loaded",
            "Models in memory.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._loaded_bytes = Gauge(
            "epochd_models_loaded_bytes",
            "Memory of the weights of loaded models.",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def for_model(self, ref: ModelRef) -> ModelMetrics:
        """Return the metrics of a model version."""
        labels = ref.name, str(ref.version)
        return ModelMetrics(
            self._queue.labels(*labels),
            self._compute.labels(*labels),
            self._batch.labels(*labels),
            cache(partial(self._by_size.labels, *labels)),
            self._last.labels(*labels),
        )

    def record_failure(self, ref: ModelRef) -> None:
        """Count a failed prediction request of a model version."""
        self._failures.labels(ref.name, str(ref.version)).inc()

    def record_unknown(self, ref: ModelRef, count: int) -> None:
        """Count values that are no category of a model version."""
        self._unknown.labels(ref.name, str(ref.version)).inc(count)

    def record_loaded(self, count: int, nbytes: int) -> None:
        """Set the number of loaded models and the size of their weights."""
        self._loaded.set(count)
        self._loaded_bytes.set(nbytes)

    def registry(self) -> CollectorRegistry:
        """Return the registry from which to read; with several processes, it sums them."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self._registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry

    def text(self, gauges: Iterable[LookedUpGauge]) -> bytes:
        """Return all metrics in Prometheus's text format, with the current values of `gauges`."""
        shown = CollectorRegistry()
        shown.register(_ShownMetrics(self.registry()))
        shown.register(_LookedUpGauges(gauges))
        return generate_latest(shown)


class _ShownMetrics(Collector):
    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        return (
            metric for metric in self._registry.collect() if metric.name != BATCH_DURATION_BY_SIZE
        )


class _LookedUpGauges(Collector):
    def __init__(self, gauges: Iterable[LookedUpGauge]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        for gauge in self._gauges:
            family = GaugeMetricFamily(
                gauge.name, gauge.help, labels=[gauge.label] if gauge.label else []
            )
            for label, value in gauge.values().items():
                family.add_metric([label] if gauge.label else [], value)
            yield family
