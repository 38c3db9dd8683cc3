"""Eager execution: one step at a time, with a check of every loss."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ml.training.batches import Batches
from ml.training.engines.base import Engine, Passes
from ml.training.run import Run


class EagerEngine(Engine):
    """Executes each step in order: forward, check the loss, backward, update."""

    def __init__(self, run: Run, batches: Batches, passes: Passes) -> None:
        self._run = run
        self._batches = batches
        self._passes = passes
        self.steps_per_advance = passes.steps_ahead
        self.name = batches.placement + passes.suffix

    def begin(self, order: Tensor, batch: int) -> None:
        """Start an epoch with the training rows in `order`."""
        self._batches.begin(order, batch)

    def advance(self, count: int) -> Iterator[float]:
        """Execute the next steps."""
        run, passes = self._run, self._passes
        rows = self._batches.take(min(count, self.steps_per_advance))
        for number, batch in enumerate(passes.prepare(rows)):
            with torch.autograd.set_detect_anomaly(run.spec.detect_anomaly):
                loss = passes.forward(batch)
                passes.side_stream.join()
                value = loss.item()
                if not math.isfinite(value):
                    raw = torch.split(rows.inputs, run.spec.batch_size)[number]
                    raise run.diagnose(loss, raw, run.progress.step + 1)
                passes.backward()
                passes.side_stream.join()
                passes.update(run.schedule.lr)
                run.count_steps(1)
            yield value
