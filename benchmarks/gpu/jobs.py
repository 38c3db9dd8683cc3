"""GPU memory left behind by jobs, and the delay before a job with long steps returns its state."""

import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.fits import Fit, digits, seconds, spec
from benchmarks.gpu.session import Session
from ml import devices
from ml.training.run import Run

MIB = 2**20
JOBS = 20
SHAPES = ([512, 256], [1024], [300, 200, 100])
"""Hidden layers of the jobs, in rotation; after the third job all shapes have occurred."""
LARGE = {"kind": "mlp", "hidden": [2048] * 4}
SMALL = {"kind": "mlp", "hidden": [64]}
TRIAL_BATCH = 8192
BATCH_UNIT = 1024
STEP_SECONDS = 0.1
PAUSE_STEPS = 260
"""Steps of the run, enough to include captured graphs."""
PAUSE_SECONDS = 40.0


def measure(session: Session) -> None:
    memory(session)
    pause(session)


def memory(session: Session) -> None:
    """Measure the GPU's memory after each of several jobs."""
    if session.device.type != "cuda":
        session.record("levels", {"left out": "there is no GPU memory to measure"})
        return
    data = digits(6400)
    levels: list[dict[str, float]] = []
    for number in range(session.pick(JOBS, 4)):
        model = {"kind": "mlp", "hidden": SHAPES[number % len(SHAPES)], "dropout": 0.2}
        Fit(spec(model=model, batch_size=64, epochs=5), data, session.device).finish()
        devices.release_memory(session.device)
        levels.append(level(session.device))
        session.record("levels", levels)
        print(
            f"  after job {number + 1:2}: "
            + ", ".join(f"{n} {v:.1f} MiB" for n, v in levels[-1].items())
        )
    for name, key in (("allocated", "growth_mib"), ("reserved", "growth_reserved_mib")):
        session.record(key, levels[-1][name] - levels[len(SHAPES) - 1][name])


def level(device: torch.device) -> dict[str, float]:
    """Return a GPU's memory in use, in MiB: by tensors, by PyTorch including its cache, and by all
    processes and libraries."""
    free, total = torch.cuda.mem_get_info(device)
    return {
        "allocated": torch.cuda.memory_allocated(device) / MIB,
        "reserved": torch.cuda.memory_reserved(device) / MIB,
        "used": (total - free) / MIB,
    }


def pause(session: Session) -> None:
    """Repeatedly request the state of a run with long steps, and measure the delays."""
    model = session.pick(LARGE, SMALL)
    batch = BATCH_UNIT if session.quick else batch_of_long_steps(session.device)
    asker = Asker(session.pick(PAUSE_STEPS, 20), session.pick(PAUSE_SECONDS, 3.0))
    job = spec(model=model, batch_size=batch, optimizer={"kind": "sgd", "lr": 1e-4})
    fit = Fit(job, digits(4 * batch), session.device, between_steps=asker)
    asker.ask_every(session.pick(0.9, 0.02))
    start = time.perf_counter()
    with suppress(Stopped):
        fit.finish()
    took = time.perf_counter() - start
    asker.stop()
    found = {
        "batch": batch,
        "step_s": took / fit.run.progress.step,
        "waits_s": asker.waits,
        "worst_s": max(asker.waits),
        "longest_between_looks_s": asker.longest,
        "engine": fit.engine,
    }
    session.record("pause", found)
    print(
        f"  {1000 * found['step_s']:.0f} ms a step, {found['engine']}: the state in hand "
        f"{1000 * found['worst_s']:.0f} ms after it was asked for at worst of {len(asker.waits)}; "
        f"{1000 * asker.longest:.0f} ms between two looks at most"
    )


def batch_of_long_steps(device: torch.device) -> int:
    """Return the batch size at which a step of the large model takes about STEP_SECONDS."""
    fit = Fit(spec(model=LARGE, batch_size=TRIAL_BATCH), digits(4 * TRIAL_BATCH), device, False)
    fit.epochs(1)
    step = seconds(partial(fit.epochs, 1), device) / 4
    del fit
    devices.release_memory(device)
    units = round(TRIAL_BATCH * STEP_SECONDS / step / BATCH_UNIT)
    return BATCH_UNIT * min(128, max(1, units))


class Stopped(Exception):
    """The measurement is complete."""


class Asker:
    """Requests a run's state at moments unpredictable to the run."""

    def __init__(self, steps: int, limit: float) -> None:
        self.waits: list[float] = []
        """Seconds from each request until the state is in host memory."""
        self.longest = 0.0
        """Maximum seconds between two calls."""
        self._steps = steps
        self._limit = limit
        self._asked: float | None = None
        self._called: float | None = None
        self._begun = time.perf_counter()
        self._ended = threading.Event()

    def ask_every(self, interval: float) -> None:
        """Start a thread that requests the state at this interval."""

        def ask() -> None:
            while not self._ended.wait(interval):
                if self._asked is None:
                    self._asked = time.perf_counter()

        threading.Thread(target=ask, daemon=True).start()

    def stop(self) -> None:
        """Stop requesting."""
        self._ended.set()

    def __call__(self, run: Run) -> None:
        """Handle a pending request, between two steps."""
        now = time.perf_counter()
        if self._called is not None:
            self.longest = max(self.longest, now - self._called)
        if self._asked is not None:
            in_hand(run.state_dict())
            self.waits.append(time.perf_counter() - self._asked)
            self._asked = None
        over = now - self._begun > self._limit
        if self.waits and (over or run.progress.step >= self._steps):
            raise Stopped
        self._called = time.perf_counter()


def in_hand(state: Any) -> Any:
    """Return the state with its tensors copied to host memory."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {name: in_hand(value) for name, value in state.items()}
    if isinstance(state, list):
        return [in_hand(value) for value in state]
    return state
