"""Batch sources: rows resident on the device, or streamed to it from host memory. Batches always
arrive in the same memory, as CUDA graphs require."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import torch
from torch import Tensor

from ml import devices
from ml.datasets import Rows

Placement = Literal["resident", "streamed"]

RESIDENT_SHARE = 0.5
"""Share of a GPU's free memory available to data; larger data is streamed."""
SLOTS_AHEAD = 2
"""Batches prefetched beyond those of one call."""


def place(size: int, device: torch.device) -> Placement:
    """Return the placement of `size` bytes of data, training and validation rows together."""
    if device.type != "cuda" or size <= RESIDENT_SHARE * devices.free_bytes(device):
        return "resident"
    return "streamed"


class Batches(ABC):
    """Batches of `batch_size` rows, up to `together` of them at a time, in fixed memory."""

    placement: Placement

    def __init__(
        self, rows: Rows, batch_size: int, together: int, device: torch.device | None = None
    ) -> None:
        self.rows = rows
        self.batch_size = batch_size
        size = min(batch_size * together, len(rows))
        # Zeros, since a warm-up may read them before the first batch: 0 is a valid class.
        self._inputs = rows.inputs.new_zeros((size, *rows.inputs.shape[1:]), device=device)
        self._targets = rows.targets.new_zeros((size, *rows.targets.shape[1:]), device=device)

    def memory(self, rows: int) -> Rows:
        """Return the memory into which the next `rows` rows are written."""
        return Rows(self._inputs[:rows], self._targets[:rows])

    @abstractmethod
    def begin(self, order: Tensor, batch: int) -> None:
        """Start an epoch with the rows in `order` (rows,), at batch number `batch`."""

    @abstractmethod
    def take(self, together: int = 1) -> Rows:
        """Return the next batches, concatenated; they are valid until the next call."""


class Resident(Batches):
    """Rows resident on the device and gathered there."""

    placement = "resident"

    def __init__(self, rows: Rows, batch_size: int, together: int = 1) -> None:
        super().__init__(rows, batch_size, together)
        self._wide_rows, self._wide_inputs = _as_wide(rows.inputs, self._inputs)
        self._order: Tensor

    def begin(self, order: Tensor, batch: int) -> None:
        """Start an epoch with the rows in `order`."""
        self._order = order.to(self.rows.inputs.device)[batch * self.batch_size :]

    def take(self, together: int = 1) -> Rows:
        """Return the next batches."""
        size = together * self.batch_size
        index, self._order = self._order[:size], self._order[size:]
        taken = self.memory(len(index))
        torch.index_select(self._wide_rows, 0, index, out=self._wide_inputs[: len(index)])
        torch.index_select(self.rows.targets, 0, index, out=taken.targets)
        return taken


class Stream(Batches):
    """Rows in host memory, or memory-mapped from disk. A thread prefetches them into pinned memory,
    from which they are copied to the device while steps run.

    The thread makes no CUDA calls, which would break a graph capture.
    """

    placement = "streamed"

    def __init__(
        self, rows: Rows, batch_size: int, device: torch.device, together: int = 1
    ) -> None:
        super().__init__(rows, batch_size, together, device)
        slots = together + SLOTS_AHEAD
        self._slots = deque(_slot(rows, batch_size, device) for _ in range(slots))
        self._gatherer = ThreadPoolExecutor(1, thread_name_prefix="gatherer")
        self._pending: deque[tuple[Slot, Future[Rows]]] = deque()
        self._indices: Iterator[Tensor]

    def begin(self, order: Tensor, batch: int) -> None:
        """Start an epoch with the rows in `order`."""
        while self._pending:
            slot, gathered = self._pending.popleft()
            gathered.result()
            self._slots.append(slot)
        self._indices = iter(torch.split(order, self.batch_size)[batch:])
        for _ in range(len(self._slots)):
            self._gather_next()

    def take(self, together: int = 1) -> Rows:
        """Return the next batches."""
        size = 0
        for _ in range(min(together, len(self._pending))):
            slot, gathered = self._pending.popleft()
            batch = gathered.result()
            end = size + len(batch)
            slot.deliver(batch, Rows(self._inputs[size:end], self._targets[size:end]))
            size = end
            self._slots.append(slot)
            self._gather_next()
        return self.memory(size)

    def _gather_next(self) -> None:
        if (index := next(self._indices, None)) is None:
            return
        slot = self._slots.popleft()
        slot.wait()
        self._pending.append((slot, self._gatherer.submit(slot.gather, self.rows, index)))


class Slot:
    """Staging memory for one batch."""

    def __init__(self, host: Rows) -> None:
        self._host = host

    def gather(self, rows: Rows, index: Tensor) -> Rows:
        """Gather the rows at `index` into this slot's memory."""
        batch = Rows(self._host.inputs[: len(index)], self._host.targets[: len(index)])
        torch.index_select(rows.inputs, 0, index, out=batch.inputs)
        torch.index_select(rows.targets, 0, index, out=batch.targets)
        return batch

    def deliver(self, batch: Rows, target: Rows) -> None:
        """Copy `batch`, which lies in this slot, to `target`."""
        _copy(batch, target)

    def wait(self) -> None:
        """Wait until this slot's memory can be overwritten."""


class CudaSlot(Slot):
    """A slot with staging memory on the GPU, so that copies overlap with steps."""

    def __init__(self, host: Rows, device: torch.device) -> None:
        super().__init__(Rows(host.inputs.pin_memory(), host.targets.pin_memory()))
        self._staged = host.to(device)
        self._copies = devices.side_stream(device, "copies")
        self._arrived, self._used = (torch.cuda.Event() for _ in range(2))  # type: ignore[no-untyped-call]

    def deliver(self, batch: Rows, target: Rows) -> None:
        """Copy `batch` to the GPU on the copy stream, then to `target`."""
        staged = Rows(self._staged.inputs[: len(batch)], self._staged.targets[: len(batch)])
        steps = torch.cuda.current_stream(staged.inputs.device)
        with torch.cuda.stream(self._copies):
            self._copies.wait_event(self._used)
            _copy(batch, staged)
            self._arrived.record(self._copies)
        steps.wait_event(self._arrived)
        _copy(staged, target)
        self._used.record(steps)

    def wait(self) -> None:
        """Wait until the previous batch has been copied from host memory."""
        self._arrived.synchronize()


def _slot(rows: Rows, batch_size: int, device: torch.device) -> Slot:
    size = min(batch_size, len(rows))
    host = Rows(
        rows.inputs.new_empty((size, *rows.inputs.shape[1:])),
        rows.targets.new_empty((size, *rows.targets.shape[1:])),
    )
    return CudaSlot(host, device) if device.type == "cuda" else Slot(host)


def _copy(rows: Rows, target: Rows) -> None:
    target.inputs.copy_(rows.inputs, non_blocking=True)
    target.targets.copy_(rows.targets, non_blocking=True)


def _as_wide(rows: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """View `rows` (rows, ...) and the batch memory as 64-bit integers where the row size allows it:
    98 for the 784 bytes of an MNIST image."""
    row = rows[:1].nbytes
    if rows.dim() == 1 or not rows.is_contiguous() or row % 8 or rows.data_ptr() % 8:
        return rows, memory
    if rows.storage_offset() * rows.itemsize % 8:
        return rows, memory
    return rows.flatten(1).view(torch.int64), memory.flatten(1).view(torch.int64)
