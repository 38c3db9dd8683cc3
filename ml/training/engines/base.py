"""Engine interface: executes a run's optimisation steps by forward and backward passes."""

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
    """Executes optimisation steps. The results of any two engines differ only by float rounding."""

    name: str
    """Name shown by a job; it changes if the run falls back to another method."""
    steps_per_advance: int
    """Maximum number of steps per call of `advance`."""

    @abstractmethod
    def begin(self, order: Tensor, batch: int) -> None:
        """Start an epoch with the training rows in `order` (rows,), at batch number `batch`."""

    @abstractmethod
    def advance(self, count: int) -> Iterator[float]:
        """Execute the next steps of the epoch, at most `count` and `steps_per_advance`; yield the
        loss of each.

        The run may be ahead of the losses; its state is consistent once the iterator is exhausted.

        Raises:
            Diverged: a loss became NaN or infinite.
        """


class Batch(NamedTuple):
    """Encoded rows of one step."""

    inputs: Tensor
    targets: Tensor


class Passes(ABC):
    """Forward and backward pass of a step: from a batch to the loss, and to all gradients."""

    suffix = ""
    """Suffix of the engine's name."""
    steps_ahead = 1
    """Number of steps whose batches are worth preparing together."""

    def __init__(self, run: Run, side_stream: "SideStream | None" = None) -> None:
        self.run = run
        self.side_stream = side_stream or SideStream()
        """Stream for work off the critical path of the backward pass."""
        self._fused_update = FusedUpdate(run.optimizer)

    @abstractmethod
    def prepare(self, rows: Rows) -> Iterator[Batch]:
        """Encode the raw `rows` of the next steps and yield their batches; the last may be smaller.
        Each batch must go through `forward` before the next is requested."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Return the loss `()`."""

    @abstractmethod
    def backward(self) -> None:
        """Write the gradients of the last loss returned by `forward` into every `.grad`."""

    def update(self, rate: float | Tensor, withheld: Tensor | None = None) -> None:
        """Clip the gradients if requested, update the weights, see `FusedUpdate`, and average
        them."""
        if (longest := self.run.spec.clip_grad_norm) is not None:
            nn.utils.clip_grad_norm_(self.run.model.parameters(), longest)
        self._fused_update(rate, withheld)
        if self.run.average is not None:
            self.run.average.update("step")


class Autograd(Passes):
    """Both passes through any network, by PyTorch's autograd."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.suffix = "+compile" if run.spec.compile else ""
        self._loss: Tensor | None = None
        if run.spec.detect_anomaly and not run.spec.compile:
            divergence.name_layers(run.model)

    def prepare(self, rows: Rows) -> Iterator[Batch]:
        """Yield the batches of the next steps."""
        size = self.run.spec.batch_size
        inputs = torch.split(self.run.encode(rows.inputs), size)
        yield from map(Batch, inputs, torch.split(rows.targets, size))

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss."""
        self._loss = self.run.loss(batch.inputs, batch.targets)
        return self._loss

    def backward(self) -> None:
        """Write the gradient into every `.grad`."""
        # Dropping the loss frees autograd's graph: one from another stream or a capture must not be
        # reused.
        loss, self._loss = self._loss, None
        assert loss is not None
        self.run.optimizer.zero_grad()
        divergence.backward(loss, self.run.where(self.run.progress.step + 1))


class SideStream(nullcontext[None]):
    """Context for work that may run concurrently with a step. Without a GPU it runs in sequence."""

    def join(self) -> None:
        """Make the main stream wait for this stream's work."""


class CudaSideStream(SideStream):
    """A concurrent CUDA stream. Tensors used on it must be kept alive until `join`."""

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
        """Make the current stream wait for this stream's work."""
        torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)
