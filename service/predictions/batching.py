"""Micro-batches: what has arrived while the last batch ran is the next. Nobody is waited for."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ml.errors import Invalid
from ml.inference.model import Inputs, Model, Predictions
from service.errors import DeadlineExceeded, Overloaded

MAX_ROWS = 256
"""Of one batch; a single request may have more."""
INLINE_SECONDS = 0.005
"""A batch that takes less is run where the requests are read: another thread would cost more."""
SMOOTHING = 0.1
"""The weight of the newest batch in what the next is thought to take."""


@dataclass
class Pace:
    """What a batch is thought to take, from what others took."""

    batch_seconds: float
    row_seconds: float
    slowdown: float = 1.0

    def seconds(self, rows: int) -> float:
        """Return what a batch of `rows` would take."""
        return self.slowdown * (self.batch_seconds + self.row_seconds * rows)

    def update(self, rows: int, seconds: float) -> None:
        """Take into account what a batch took."""
        self.slowdown *= 1 + SMOOTHING * (seconds / self.seconds(rows) - 1)


class RecordBatch(Protocol):
    """A function that is called after each batch, see `ModelMetrics.record`."""

    def __call__(self, rows: int, waits: Sequence[float], seconds: float) -> None: ...


class FutureLike(Protocol):
    """Who waits for answers: a future, or what behaves like one."""

    def done(self) -> bool:
        """Return whether they are not wanted any more."""

    def set_result(self, predictions: Predictions, /) -> None:
        """Take them."""

    def set_exception(self, error: BaseException, /) -> None:
        """Take the reason why there are none."""


@dataclass(eq=False, slots=True)
class _Request:
    inputs: Inputs
    arrived: float
    deadline: float
    future: FutureLike


class Batcher:
    """The queue before one model. It belongs to one event loop."""

    def __init__(
        self,
        model: Model,
        executor: Executor,
        max_waiting_rows: int,
        pace: Pace,
        record: RecordBatch,
    ) -> None:
        self._model = model
        self._executor = executor
        self._max_waiting_rows = max_waiting_rows
        self._pace = pace
        self._record = record
        self._queue: deque[_Request] = deque()
        self._queued_rows = 0
        self._scheduled = False
        self._running = False
        self._loop = asyncio.get_running_loop()

    def is_quick(self, rows: int = 0) -> bool:
        """Return whether all that waits, and so many rows more, would be answered in this turn of
        the loop."""
        return not self._running and self._pace.seconds(self._queued_rows + rows) <= INLINE_SECONDS

    def submit(self, inputs: Inputs, seconds: float) -> "asyncio.Future[Predictions]":
        """Have `inputs` answered within `seconds`, as `enqueue` does, by a future. Who cancels it
        before the batch begins costs nothing."""
        future: asyncio.Future[Predictions] = self._loop.create_future()
        self.enqueue(inputs, seconds, future)
        return future

    def enqueue(self, inputs: Inputs, seconds: float, future: FutureLike) -> None:
        """Have `inputs` answered within `seconds`, together with what else waits.

        Who waits may be told:
            DeadlineExceeded: it took longer.
            Invalid: the answer to a row is not finite; `loc` is the row.

        Raises:
            Overloaded: too many rows wait.
        """
        if self._queue and self._queued_rows + len(inputs) > self._max_waiting_rows:
            raise Overloaded(
                f"{self._queued_rows:,} rows wait for this model already; try again in a second"
            )
        now = time.monotonic()
        self._queue.append(_Request(inputs, now, now + seconds, future))
        self._queued_rows += len(inputs)
        if not self._scheduled:
            self._scheduled = True
            # After all that was read in this turn of the loop.
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        requests = self._take()
        if not requests:
            self._scheduled = False
            return
        began = time.monotonic()
        rows = sum(len(request.inputs) for request in requests)
        if self._pace.seconds(rows) <= INLINE_SECONDS:
            try:
                predictions = self._predict(requests)
            except Exception as error:
                self._end(requests, began, error)
            else:
                self._end(requests, began, predictions)
            return
        self._running = True
        running = self._loop.run_in_executor(self._executor, self._predict, requests)
        running.add_done_callback(
            lambda done: self._end(requests, began, done.exception() or done.result())
        )

    def _take(self) -> list[_Request]:
        """Return the requests of the next batch, in the order in which they came."""
        taken: list[_Request] = []
        rows, now = 0, time.monotonic()
        while self._queue and (not taken or rows + len(self._queue[0].inputs) <= MAX_ROWS):
            request = self._queue.popleft()
            self._queued_rows -= len(request.inputs)
            if request.future.done():
                continue
            if now > request.deadline:
                request.future.set_exception(
                    DeadlineExceeded("the request waited too long for its turn")
                )
                continue
            taken.append(request)
            rows += len(request.inputs)
        return taken

    def _predict(self, requests: list[_Request]) -> Predictions:
        # Of this thread alone: how busy the machine is says nothing about the model.
        began = time.thread_time()
        if len(requests) == 1:
            predictions = self._model.predict(requests[0].inputs)
        else:
            predictions = self._model.predict(
                np.concatenate([request.inputs for request in requests])
            )
        self._pace.update(len(predictions), time.thread_time() - began)
        return predictions

    def _end(
        self, requests: list[_Request], began: float, outcome: Predictions | BaseException
    ) -> None:
        self._running = False
        seconds = time.monotonic() - began
        try:
            self._deliver(requests, outcome)
            if isinstance(outcome, Predictions):
                # Counted while the answers are on their way.
                waits = [began - request.arrived for request in requests]
                self._record(len(outcome), waits, seconds)
        finally:
            if self._queue:
                self._loop.call_soon(self._begin)
            else:
                self._scheduled = False

    @staticmethod
    def _deliver(requests: list[_Request], outcome: Predictions | BaseException) -> None:
        all_finite = isinstance(outcome, Predictions) and outcome.are_finite()
        start = 0
        for request in requests:
            stop = start + len(request.inputs)
            if request.future.done():
                pass
            elif isinstance(outcome, Predictions):
                part = outcome[start:stop] if len(requests) > 1 else outcome
                try:
                    if not all_finite:
                        part.check()
                    request.future.set_result(part)
                except Invalid as error:
                    request.future.set_exception(error)
            else:
                request.future.set_exception(outcome)
            start = stop
