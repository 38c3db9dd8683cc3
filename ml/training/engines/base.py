"""What an engine is: it does the optimisation steps of a run, by passes forward and back."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ml import devices
from ml.datasets import Rows
from ml.training import divergence
from ml.training.engines.fused_update import FusedUpdate
from ml.training.run import Run


class Engine(ABC):
    """Does optimisation steps. What comes out of two engines differs by float rounding at most."""

    name: str
    """As a job shows it; it changes where a run goes on by other means."""
    steps_per_advance: int
    """How many steps it does at a time, at most."""

    @abstractmethod
    def begin(self, order: Tensor, batch: int) -> None:
        """Take the training rows in `order` (rows,) from now on, starting with batch `batch`."""

    @abstractmethod
    def advance(self, count: int) -> Iterator[float]:
        """Do the next steps of the epoch, at most `count` and `steps_per_advance`; yield the loss
        of each.

        The run may be ahead of the losses: it is whole again when the iterator has ended.

        Raises:
            Diverged: a loss became NaN or infinite.
        """


class Batch(NamedTuple):
    """One step's rows, encoded."""

    inputs: Tensor
    targets: Tensor


class Passes(ABC):
    """The two passes of a step: forward to the loss, and back to a gradient for each parameter."""

    suffix = ""
    """What they add to the engine's name."""
    steps_ahead = 1
    """For how many steps it pays to prepare the batches together."""

    def __init__(self, run: Run, side_stream: "SideStream | None" = None) -> None:
        self.run = run
        self.side_stream = side_stream or SideStream()
        """For work that the pass back need not wait for."""
        self._fused_update = FusedUpdate(run.optimizer)

    @abstractmethod
    def prepare(self, rows: Rows) -> Iterator[Batch]:
        """Yield the batches of some steps to come, given their raw `rows`; the last may be smaller.
        Each goes forward before the next is asked for."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Return the loss `()`."""

    @abstractmethod
    def backward(self) -> None:
        """Write the gradient of the loss that `forward` returned last into every `.grad`."""

    def update(self, rate: float | Tensor, withheld: Tensor | None = None) -> None:
        """Change the weights along the gradient; see `FusedUpdate`."""
        if (longest := self.run.spec.clip_grad_norm) is not None:
            nn.utils.clip_grad_norm_(self.run.model.parameters(), longest)
        self._fused_update(rate, withheld)


class Autograd(Passes):
    """Both passes as PyTorch does them, for every network."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.suffix = "+compile" if run.spec.compile else ""
        self._loss: Tensor | None = None

    def prepare(self, rows: Rows) -> Iterator[Batch]:
        """Yield the batches of some steps."""
        size = self.run.spec.batch_size
        inputs = torch.split(self.run.encode(rows.inputs), size)
        yield from map(Batch, inputs, torch.split(rows.targets, size))

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss."""
        self._loss = self.run.loss(batch.inputs, batch.targets)
        return self._loss

    def backward(self) -> None:
        """Write the gradient into every `.grad`."""
        # The graph that autograd keeps goes with the loss: one made on another stream, or within
        # a capture, must not be met again.
        loss, self._loss = self._loss, None
        assert loss is not None
        self.run.optimizer.zero_grad()
        divergence.backward(loss, self.run.where())


class SideStream(nullcontext[None]):
    """A place for work beside the main line of a step. Without a GPU that is the main line."""

    def join(self) -> None:
        """Have the main line wait until all of it is done."""


class CudaSideStream(SideStream):
    """A CUDA stream beside the current one. What is used there must be kept until it is joined."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._stream = devices.side_stream(device, "side")

    def __enter__(self) -> None:
        self._main = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(self._main)
        torch.cuda.set_stream(self._stream)

    def __exit__(self, *_: object) -> None:
        torch.cuda.set_stream(self._main)

    def join(self) -> None:
        """Have the current stream wait for it."""
        torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)
