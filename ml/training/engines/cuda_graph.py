"""Training steps captured in CUDA graphs and replayed, several per launch.

With small networks a GPU waits for the host, which launches about forty kernels per step; a graph
launches them all at once. Batches arrive in fixed memory, learning rates and losses lie on the
device, and updates are withheld there from the first step with a bad loss on, so nothing needs to
be inspected or copied between launches.
"""

import gc
import logging
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import torch
from torch import Tensor

from ml import devices
from ml.datasets import Rows
from ml.errors import Diverged
from ml.training.batches import Batches
from ml.training.engines.base import Engine, Passes
from ml.training.engines.eager import EagerEngine
from ml.training.run import Run

logger = logging.getLogger(__name__)

STEPS_PER_CALL = 8
"""Steps per graph launch."""
BYTES_PER_CALL = 256 << 20
"""Bound on the encoded rows of a launch."""
MAX_STEPS_PER_ADVANCE = 128
LONGEST_SECONDS = 0.25
"""Bounds on the steps between two checks for requests to the job."""
EAGER_STEPS = 200
"""Eager steps before the first capture, which takes as long as several hundred steps."""
SLOW_STEP_SECONDS = 0.02
"""Step time above which the host's work is hidden and graphs gain nothing."""
WARM_UPS = 3

Replay = Callable[[], None]


class Record(Protocol):
    """Records the device operations of `body` without executing them."""

    def __call__(
        self,
        body: Callable[[], None],
        warm_up: Callable[[], None] | None = None,
        undo: Callable[[], None] = lambda: None,
    ) -> Replay:
        """Return a function that replays the operations in the same memory.

        Before recording, `warm_up`, by default `body`, is called a few times, and then `undo` once.
        """


class CudaGraphs:
    """Records CUDA graphs that share one memory pool, so no two may replay at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def record(
        self,
        body: Callable[[], None],
        warm_up: Callable[[], None] | None = None,
        undo: Callable[[], None] = lambda: None,
    ) -> Replay:
        """Capture `body` in a graph and return its replay; see `Record`."""
        graph = torch.cuda.CUDAGraph()
        with devices.current(self._device):
            before = torch.cuda.current_stream()
            stream = devices.side_stream(self._device, "capture")
            stream.wait_stream(before)
            with torch.cuda.stream(stream), _without_collection():
                for _ in range(WARM_UPS):
                    (warm_up or body)()
                undo()
                torch.cuda.synchronize()
                graph.capture_begin(pool=self._pool)
                try:
                    body()
                except BaseException:
                    # A failed capture must be ended, which raises again.
                    with suppress(RuntimeError):
                        graph.capture_end()
                    raise
                graph.capture_end()
            before.wait_stream(stream)
        replay: Replay = graph.replay
        return replay


class CudaGraphEngine(Engine):
    """Executes the first steps eagerly, then captures steps and replays them.

    If a capture fails for any reason, the run continues eagerly from its current state.
    """

    def __init__(
        self,
        run: Run,
        batches: Batches,
        passes: Passes,
        record: Record | None = None,
        eager_steps: int = EAGER_STEPS,
    ) -> None:
        """At least one eager step is executed, in which the optimizer creates its state."""
        self._run = run
        self._batches = batches
        self._passes = passes
        self._eager = EagerEngine(run, batches, passes)
        self._eager_steps: float = max(1, eager_steps)
        """Infinite if nothing will be captured."""
        self._steps_done = 0
        self._eager_seconds = 0.0
        self._record = record or CudaGraphs(run.device).record
        self._replays: dict[tuple[int, int], Replay] = {}
        self._steps_per_call = steps_per_call(run)
        self._max_steps_per_advance = self._steps_per_call
        self._order: Tensor
        # Memory of the graphs. Fused kernels take float32 rates on a GPU, float64 on a CPU.
        on_gpu = run.device.type == "cuda"
        steps = (self._steps_per_call,)
        self._rates = torch.zeros(steps, device=run.device, dtype=None if on_gpu else torch.double)
        self._rates_there: list[float] = []
        self._losses = torch.zeros(steps, device=run.device)
        self._went_bad = torch.zeros((), device=run.device)
        self._one = torch.ones((), device=run.device)

    @property
    def steps_per_advance(self) -> int:  # type: ignore[override]
        """Maximum number of steps per call of `advance`."""
        return self._eager.steps_per_advance if self._is_eager else self._max_steps_per_advance

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the eager engine, with `+graph` unless capturing was abandoned."""
        return self._eager.name + ("+graph" if math.isfinite(self._eager_steps) else "")

    def begin(self, order: Tensor, batch: int) -> None:
        """Start an epoch with the training rows in `order`."""
        self._order = order
        self._batches.begin(order, batch)

    def advance(self, count: int) -> Iterator[float]:
        """Execute the next steps."""
        with devices.current(self._run.device):
            done = 0 if self._is_eager else (yield from self._advance_by_graph(count))
            if not done:
                yield from self._advance_eagerly(count)

    @property
    def _is_eager(self) -> bool:
        return self._steps_done < self._eager_steps

    def _advance_eagerly(self, count: int) -> Iterator[float]:
        start, first = time.perf_counter(), self._run.progress.step
        yield from self._eager.advance(count)
        self._eager_seconds += time.perf_counter() - start
        self._steps_done += self._run.progress.step - first
        if not self._is_eager and self._eager_seconds > SLOW_STEP_SECONDS * self._steps_done:
            self._eager_steps = math.inf

    def _advance_by_graph(self, count: int) -> Generator[float, None, int]:
        """Execute steps up to the first that cannot be captured; return their number."""
        run, first = self._run, self._run.progress.batch
        count = min(count, self._max_steps_per_advance)
        start, graphs, done = time.perf_counter(), len(self._replays), 0
        losses = self._losses.new_empty(count)
        while done < count:
            call = steps, _ = self._next_call(count - done)
            if call not in self._replays and not self._capture(*call):
                break
            self._batches.take(steps)
            self._set_rates(run.count_steps(steps))
            self._replays[call]()
            losses[done : done + steps].copy_(self._losses[:steps])
            done += steps
        for number, loss in enumerate(losses[:done].tolist()):  # waits for the device
            if not math.isfinite(loss):
                raise self._diagnosis(losses[number], first + number)
            yield loss
        if done and graphs == len(self._replays):
            seconds = (time.perf_counter() - start) / done
            self._max_steps_per_advance = max(
                1, min(MAX_STEPS_PER_ADVANCE, int(LONGEST_SECONDS / seconds))
            )
        return done

    def _next_call(self, count: int) -> tuple[int, int]:
        """Return the numbers of steps, at most `count`, and of rows of the next launch."""
        left = len(self._run.train) - self._run.progress.batch * self._batches.batch_size
        rows = self._steps_per_call * self._batches.batch_size
        if count >= self._steps_per_call and left >= rows:
            return self._steps_per_call, rows
        return 1, min(self._batches.batch_size, left)

    def _set_rates(self, rates: list[float]) -> None:
        if rates != self._rates_there[: len(rates)]:
            # Pinned memory, since otherwise the copy would wait for all previous launches.
            on_host = torch.tensor(rates, dtype=self._rates.dtype, pin_memory=self._rates.is_cuda)
            self._rates[: len(rates)].copy_(on_host, non_blocking=True)
            self._rates_there = rates

    def _capture(self, steps: int, rows: int) -> bool:
        """Capture `steps` steps on `rows` rows; return whether the capture succeeded."""
        one = self._batches.memory(min(rows, self._batches.batch_size))
        all_of_them = self._batches.memory(rows)
        undo = self._withhold_updates()
        try:
            self._replays[steps, rows] = self._record(
                lambda: self._steps(all_of_them), lambda: self._steps(one), undo
            )
        except Exception as error:
            undo()
            logger.warning(
                "capturing steps failed, continuing without CUDA graphs: %s: %s",
                type(error).__name__,
                error,
            )
            # The allocator may still consider the capture in progress.
            devices.distrust(self._run.device)
            self._eager_steps = math.inf
            self._replays.clear()
            return False
        return True

    def _withhold_updates(self) -> Callable[[], None]:
        """Make steps leave the weights unchanged; return a function that restores the rest."""
        run, went_bad = self._run, self._went_bad
        counts = [state["step"] for state in run.optimizer.state.values() if "step" in state]
        averages = run.average.tensors if run.average else []
        changed = (went_bad, *run.model.buffers(), *counts, *averages)
        saved = [(tensor, tensor.clone()) for tensor in changed]
        random = devices.random_state(run.device)
        went_bad.fill_(1.0)

        def undo() -> None:
            for tensor, value in saved:
                tensor.copy_(value)
            devices.set_random_state(run.device, random)

        return undo

    def _steps(self, rows: Rows) -> None:
        """Execute the steps on `rows`; this is the body of a graph."""
        passes = self._passes
        for number, batch in enumerate(passes.prepare(rows)):
            loss = passes.forward(batch)
            with passes.side_stream:
                loss_there = self._losses[number]
                loss_there.copy_(loss.detach())
                # Set to 1 when a loss is not finite, and never reset.
                torch._amp_foreach_non_finite_check_and_unscale_(
                    [loss_there], self._went_bad, self._one
                )
            passes.backward()
            passes.side_stream.join()
            passes.update(self._rates[number], self._went_bad)

    def _diagnosis(self, loss: Tensor, batch: int) -> Diverged:
        """Return the error for batch number `batch`, whose `loss` was not finite. The weights have
        not changed since."""
        run, size = self._run, self._batches.batch_size
        # The gradients of the previous step have been overwritten.
        run.optimizer.zero_grad()
        index = self._order[batch * size : (batch + 1) * size]
        rows = run.train.at(index.to(run.train.inputs.device))
        step = run.progress.step - run.progress.batch + batch + 1
        return run.diagnose(loss, rows.inputs.to(run.device), step)


def steps_per_call(run: Run) -> int:
    """Return the number of steps per launch for a run."""
    width = max(run.signature.inputs.width, run.train.inputs[:1].numel())
    row_bytes = width * torch.float32.itemsize
    return max(1, min(STEPS_PER_CALL, BYTES_PER_CALL // (run.spec.batch_size * row_bytes)))


@contextmanager
def _without_collection() -> Iterator[None]:
    """Disable garbage collection: freeing a dead graph during a capture breaks the capture."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
