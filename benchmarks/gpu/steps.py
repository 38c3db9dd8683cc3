"""Step times of the MNIST network (784-512-256-10, dropout 0.2, Adam) at batches of 64 and 4096:
epochd's engines compared with the tutorial's script and a well-written plain loop."""

import math
import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.contenders import Contender, plain, tutorial
from benchmarks.gpu.fits import PRECISIONS, WARM_STEPS, Fit, digits, epochs_of, seconds, spec
from benchmarks.gpu.session import Session

MNIST_ROWS = 60_000
EPOCHS = 10
ROUNDS = 3
FULL_ROWS = {64: MNIST_ROWS, 4096: 15 * 4096}
"""Rows by batch size: all of MNIST, or at the large batch only whole batches."""
QUICK_ROWS = {64: 640, 4096: 512}
FULL_SCRIPT_STEPS = {64: 300, 4096: 8}
"""Steps of the tutorial's script by batch size; each takes milliseconds."""


def measure(session: Session) -> None:
    for batch in FULL_ROWS:
        StepBench(session, batch).measure()


class StepBench:
    """All measurements at one batch size."""

    def __init__(self, session: Session, batch: int) -> None:
        self._session = session
        self._device = session.device
        self._batch = batch
        self._data = digits(session.pick(FULL_ROWS, QUICK_ROWS)[batch])
        self._per_epoch = math.ceil(len(self._data.train) / batch)
        steps = session.pick(2000, 1)
        self._epochs = session.pick(max(EPOCHS, epochs_of(steps, self._per_epoch)), 1)
        self._warm = epochs_of(session.pick(WARM_STEPS, 1), self._per_epoch)
        self._found: dict[str, Any] = {}

    def measure(self) -> None:
        self._fit("captured float32", "float32")
        self._script()
        self._fit("captured tf32", "tf32")
        self._fit("captured bfloat16", "bfloat16")
        self._from_the_start()
        for precision in PRECISIONS:
            self._fit(f"eager {precision}", precision, graphs=False)
        rows = self._data.train
        self._loop("plain loop", plain(rows.inputs, rows.targets, self._device, self._batch))

    def _fit(self, name: str, precision: str, graphs: bool = True) -> None:
        job = spec(batch_size=self._batch, precision=precision)
        fit = Fit(job, self._data, self._device, graphs)
        fit.epochs(self._warm)
        epochs = self._epochs if graphs else self._epochs_of_rivals
        self._keep(name, lambda: fit.epochs(epochs), epochs * self._per_epoch)
        self._record(name, engine=fit.engine)

    def _from_the_start(self) -> None:
        """Time a job of ten epochs, captures included, in a process that has run one before."""
        epochs = self._session.pick(EPOCHS, 1)
        job = spec(batch_size=self._batch, epochs=epochs)

        def whole() -> None:
            Fit(job, self._data, self._device).finish()

        took = statistics.median(seconds(whole, self._device) for _ in range(self._rounds))
        self._record("captured float32", whole_job_s=took, whole_job_epochs=epochs)
        print(f"  a whole job of {epochs} epochs, start included: {took:.3f} s")

    def _script(self) -> None:
        count = self._session.pick(FULL_SCRIPT_STEPS[self._batch], 1)
        rows = self._data.train
        warm, timed = (
            tutorial(rows.inputs[:size], rows.targets[:size], self._device, self._batch)
            for size in (self._batch, count * self._batch)
        )
        warm()
        self._keep("tutorial's script", timed, count, rounds=1)
        if self._batch == min(FULL_ROWS):
            captured, script = (
                self._found[name]["us"] for name in ("captured float32", "tutorial's script")
            )
            self._session.record("times_the_script", script / captured)

    def _loop(self, name: str, epoch: Contender) -> None:
        for _ in range(self._warm):
            epoch()

        def epochs() -> None:
            for _ in range(self._epochs_of_rivals):
                epoch()

        self._keep(name, epochs, self._epochs_of_rivals * self._per_epoch)

    def _keep(
        self, name: str, work: Callable[[], object], steps: int, rounds: int | None = None
    ) -> None:
        """Time `work`, which executes `steps` steps, and record the time per step."""
        took = [seconds(work, self._device) for _ in range(rounds or self._rounds)]
        us = 1e6 * statistics.median(took) / steps
        is_whole = steps == EPOCHS * self._per_epoch and len(self._data.train) == MNIST_ROWS
        ten = 1e-6 * us * EPOCHS * math.ceil(MNIST_ROWS / self._batch)
        self._record(
            name, us=us, steps=steps, seconds=took, ten_epochs_s=ten, extrapolated=not is_whole
        )
        print(
            f"  batch {self._batch:4}  {name:20}{us:11,.1f} µs a step, "
            f"ten epochs of MNIST {ten:8.3f} s{'' if is_whole else ' (extrapolated)'}"
        )

    def _record(self, name: str, **figures: Any) -> None:
        self._found.setdefault(name, {}).update(figures)
        self._session.record(str(self._batch), self._found)

    @property
    def _rounds(self) -> int:
        return self._session.pick(ROUNDS, 1)

    @property
    def _epochs_of_rivals(self) -> int:
        """Epochs with at least 2,000 steps, since ten epochs take too long."""
        return self._session.pick(epochs_of(2000, self._per_epoch), 1)
