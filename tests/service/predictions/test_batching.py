"""Micro-batching: batches of the queued requests, deadlines and back-pressure."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest

from ml.errors import Invalid
from ml.inference.model import Inputs, Predictions
from service.errors import DeadlineExceeded, Overloaded
from service.predictions.batching import Batcher, Pace

QUICK = Pace(1e-9, 0.0)
SLOW = Pace(1.0, 0.0)


class Batch(NamedTuple):
    rows: int
    requests: int


class Doubling:
    """Model that doubles each row, blocks on a gate and records its inputs."""

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def predict(self, inputs: Inputs) -> Predictions:
        self.batch_sizes.append(len(inputs))
        assert self.gate.wait(60)
        if (inputs == -2).any():
            raise MemoryError("too much")
        with np.errstate(divide="ignore"):
            return Predictions.from_values(
                np.where(inputs == -1, np.inf, 2 * inputs).astype(np.float32)
            )


def rows(*values: float) -> Inputs:
    return np.array(values, np.float32).reshape(-1, 1)


async def held(batcher: Batcher, model: Doubling) -> "asyncio.Future[Predictions]":
    """Keep the model busy with one row until its gate is opened."""
    model.gate.clear()
    first = batcher.submit(rows(0), 10)
    while not model.batch_sizes:
        await asyncio.sleep(0)
    return first


def run(
    pace: Pace,
    scenario: Callable[[Batcher, Doubling, list[Batch]], Coroutine[Any, Any, None]],
    bound: int = 100,
) -> None:
    async def main() -> None:
        model, batches = Doubling(), list[Batch]()

        def record(rows: int, waits: Sequence[float], seconds: float) -> None:
            batches.append(Batch(rows, len(waits)))

        with ThreadPoolExecutor(2) as executor:
            batcher = Batcher(model, executor, bound, pace, record)  # type: ignore[arg-type]
            try:
                await scenario(batcher, model, batches)
            finally:
                model.gate.set()

    asyncio.run(main())


@pytest.mark.parametrize("pace", [QUICK, SLOW])
def test_requests_of_one_loop_iteration_form_one_batch(pace: Pace) -> None:
    async def scenario(batcher: Batcher, model: Doubling, batches: list[Batch]) -> None:
        waiting = [batcher.submit(rows(n, n + 0.5), 10) for n in range(5)]
        answers = await asyncio.gather(*waiting)
        assert model.batch_sizes == [10]
        assert [a.lists for a in answers] == [[[2 * n], [2 * n + 1]] for n in range(5)]
        assert [(b.rows, b.requests) for b in batches] == [(10, 5)]

    run(Pace(pace.batch_seconds, pace.row_seconds), scenario)


def test_requests_during_a_batch_form_the_next() -> None:
    async def scenario(batcher: Batcher, model: Doubling, batches: list[Batch]) -> None:
        first = await held(batcher, model)
        rest = [batcher.submit(rows(n), 10) for n in range(7)]
        assert not batcher.is_quick()
        model.gate.set()
        await asyncio.gather(first, *rest)
        assert model.batch_sizes == [1, 7]

    run(Pace(1.0, 0.0), scenario)


def test_large_request_is_its_own_batch() -> None:
    async def scenario(batcher: Batcher, model: Doubling, batches: list[Batch]) -> None:
        waiting = [batcher.submit(rows(*range(size)), 10) for size in (5000, 90)]
        waiting.append(batcher.submit(rows(*range(10)), 10))
        await asyncio.gather(*waiting)
        assert model.batch_sizes == [5000, 100]

    run(Pace(1e-9, 0.0), scenario, bound=10_000)


def test_requests_over_the_queue_limit_are_refused() -> None:
    async def scenario(batcher: Batcher, model: Doubling, batches: list[Batch]) -> None:
        waiting = [await held(batcher, model)]
        waiting += [batcher.submit(rows(n), 10) for n in range(100)]
        with pytest.raises(Overloaded, match="100 rows wait"):
            batcher.submit(rows(1), 10)
        model.gate.set()
        assert len(await asyncio.gather(*waiting)) == 101
        await batcher.submit(rows(1), 10)

    run(Pace(1.0, 0.0), scenario)


def test_cancelled_and_late_requests_are_not_computed() -> None:
    async def scenario(batcher: Batcher, model: Doubling, batches: list[Batch]) -> None:
        first = await held(batcher, model)
        cancelled, late, patient = (
            batcher.submit(rows(n), s) for n, s in ((1, 10), (2, 0), (3, 10))
        )
        cancelled.cancel()
        model.gate.set()
        await asyncio.gather(first, patient)
        with pytest.raises(DeadlineExceeded):
            await late
        assert model.batch_sizes == [1, 1]

    run(Pace(1.0, 0.0), scenario)


@pytest.mark.parametrize("pace", [QUICK, SLOW])
def test_non_finite_prediction_fails_only_its_own_request(pace: Pace) -> None:
    async def scenario(batcher: Batcher, model: Doubling, batches: list[Batch]) -> None:
        good, bad = batcher.submit(rows(1), 10), batcher.submit(rows(3, -1), 10)
        assert (await good).lists == [[2]]
        with pytest.raises(Invalid) as error:
            await bad
        assert error.value.loc == (1,)

    run(Pace(pace.batch_seconds, pace.row_seconds), scenario)


@pytest.mark.parametrize("pace", [QUICK, SLOW])
def test_failed_batch_does_not_stop_the_next(pace: Pace) -> None:
    async def scenario(batcher: Batcher, model: Doubling, batches: list[Batch]) -> None:
        with pytest.raises(MemoryError):
            await batcher.submit(rows(-2), 10)
        assert (await batcher.submit(rows(2), 10)).lists == [[4]]
        assert len(batches) == 1

    run(Pace(pace.batch_seconds, pace.row_seconds), scenario)


def test_pace_tracks_batch_durations() -> None:
    pace = Pace(0.001, 0.0001)
    for _ in range(100):
        pace.update(10, 0.004)
    assert pace.seconds(10) == pytest.approx(0.004, rel=0.01)
    assert pace.seconds(110) == pytest.approx(0.024, rel=0.01)
