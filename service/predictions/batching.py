"""Micro-batching: requests that arrive while a batch runs form the next one. A batch never waits
for more requests."""

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
"""Maximum rows of a batch; a single request may have more."""
INLINE_SECONDS = 0.005
"""Batches expected to take no longer run in the event loop, which is cheaper than a thread."""
SMOOTHING = 0.1
"""Weight of the latest batch in the estimate for the next."""


@dataclass
class Pace:
    """Estimate of the duration of a batch, from earlier batches."""

    batch_seconds: float
    row_seconds: float
    slowdown: float = 1.0

    def seconds(self, rows: int) -> float:
        """Return the estimated duration of a batch of `rows` rows."""
        return self.slowdown * (self.batch_seconds + self.row_seconds * rows)

    def update(self, rows: int, seconds: float) -> None:
        """Update the estimate with the measured duration of a batch."""
        self.slowdown *= 1 + SMOOTHING * (seconds / self.seconds(rows) - 1)


class RecordBatch(Protocol):
    """Function called after each batch, see `ModelMetrics.record`."""

    def __call__(self, rows: int, waits: Sequence[float], seconds: float) -> None: ...


class FutureLike(Protocol):
    """A future for predictions, or an object that behaves like one."""

    def done(self) -> bool:
        """Return whether the predictions are no longer needed."""

    def set_result(self, predictions: Predictions, /) -> None:
        """Deliver the predictions."""

    def set_exception(self, error: BaseException, /) -> None:
        """Deliver the error that prevented them."""


@dataclass(eq=False, slots=True)
class _Request:
    inputs: Inputs
    arrived: float
    deadline: float
    future: FutureLike


class Batcher:
    """The request queue of one model. Bound to one event loop."""

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
        """Return whether the queue and `rows` more rows would be processed in this iteration of
        the event loop."""
        return not self._running and self._pace.seconds(self._queued_rows + rows) <= INLINE_SECONDS

    def submit(self, inputs: Inputs, seconds: float) -> "asyncio.Future[Predictions]":
        """Queue `inputs` like `enqueue`, and return a future for their predictions. Cancelling
        it before its batch begins avoids the computation."""
        future: asyncio.Future[Predictions] = self._loop.create_future()
        self.enqueue(inputs, seconds, future)
        return future

    def enqueue(self, inputs: Inputs, seconds: float, future: FutureLike) -> None:
        """Queue `inputs` for the next batch, with a deadline of `seconds` from now.

        The future may receive:
            DeadlineExceeded: the deadline passed.
            Invalid: the prediction for a row is not finite; `loc` is the row.

        Raises:
            Overloaded: the queue is full.
        """
        if self._queue and self._queued_rows + len(inputs) > self._max_waiting_rows:
            raise Overloaded(
                f"the queue of this model is full: {self._queued_rows:,} rows wait; "
                "retry in a second"
            )
        now = time.monotonic()
        self._queue.append(_Request(inputs, now, now + seconds, future))
        self._queued_rows += len(inputs)
        if not self._scheduled:
            self._scheduled = True
            # After every request read in this iteration of the event loop.
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
        """Remove and return the requests of the next batch, in order of arrival."""
        taken: list[_Request] = []
        rows, now = 0, time.monotonic()
        while self._queue and (not taken or rows + len(self._queue[0].inputs) <= MAX_ROWS):
            request = self._queue.popleft()
            self._queued_rows -= len(request.inputs)
            if request.future.done():
                continue
            if now > request.deadline:
                request.future.set_exception(
                    DeadlineExceeded("the request's deadline passed while it was queued")
                )
                continue
            taken.append(request)
            rows += len(request.inputs)
        return taken

    def _predict(self, requests: list[_Request]) -> Predictions:
        # CPU time of this thread: the load of the machine must not count.
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
                # Recorded after delivery, so that no response waits for it.
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
