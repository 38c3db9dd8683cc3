"""Training for measurements: data, runs with a chosen engine, and a timer that waits for the
GPU."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.contenders import dataset
from ml.datasets import Dataset
from ml.specs import TrainingSpec
from ml.training.engines.choose import choose
from ml.training.initial_model import build
from ml.training.loop import Report, fit
from ml.training.run import Run

PRECISIONS = ("float32", "tf32", "bfloat16")
WARM_STEPS = 500
"""Warm-up steps before a timing: the first 200 may run eagerly, then graphs are captured, and a GPU
takes some tenths of a second to raise its clocks."""

Hook = Callable[[Run], None]


def digits(rows: int) -> Dataset:
    """Return a data set of random images of MNIST's shape."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (rows, 28, 28), dtype=torch.uint8, generator=random)
    return dataset(images, torch.randint(0, 10, (rows,), generator=random))


def spec(**changes: Any) -> TrainingSpec:
    """Return the spec of the tutorial's job, practically endless unless `epochs` is given."""
    document = {"dataset": {"kind": "mnist"}, "epochs": 1_000_000, "report_every": 100}
    return TrainingSpec.of(document | changes)


class Fit:
    """A run in progress: `fit` with the device's default engine or an eager one."""

    def __init__(
        self,
        spec: TrainingSpec,
        data: Dataset,
        device: torch.device,
        graphs: bool = True,
        between_steps: Hook = lambda run: None,
    ) -> None:
        self.run = Run(build(spec, data), data, spec, device)
        self._engine = choose(self.run, graphs=graphs)
        self._between_steps = between_steps
        self._reports = self._train()

    @property
    def engine(self) -> str:
        """Name of the engine, which changes if a capture fails."""
        return self._engine.name

    def _train(self) -> Iterator[Report]:
        for report in fit(self.run, self._engine):
            if report is None:
                self._between_steps(self.run)
            else:
                yield report

    def epochs(self, count: int) -> None:
        """Train `count` more epochs, and wait for their losses."""
        for _ in range(count):
            while next(self._reports).level != "epoch":
                pass

    def finish(self) -> None:
        """Train to completion."""
        for _ in self._reports:
            pass


def synchronize(device: torch.device) -> None:
    """Wait until the GPU has finished all work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds `work` takes, until the GPU has finished it."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


def epochs_of(steps: int, steps_per_epoch: int) -> int:
    """Return the number of whole epochs with at least `steps` steps."""
    return math.ceil(steps / steps_per_epoch)
