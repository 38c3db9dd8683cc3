"""Batches arrive in order, in the same memory, whether resident or streamed."""

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import devices
from ml.datasets import Rows
from ml.training import batches
from ml.training.batches import CudaSlot, Resident, Stream, place
from tests.ml.training.fake_cuda import FakeCuda

CPU = torch.device("cpu")


def rows_of(count: int, *shape: int, dtype: torch.dtype = torch.uint8) -> Rows:
    random = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (count, *shape), generator=random).to(dtype)
    return Rows(inputs, torch.arange(count))


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 60),
    batch_size=st.integers(1, 20),
    together=st.integers(1, 8),
    first=st.integers(0, 3),
    shape=st.sampled_from([(3,), (8,), (2, 4), (5, 5)]),
    dtype=st.sampled_from([torch.uint8, torch.float32, torch.float64]),
    streamed=st.booleans(),
)
def test_batches_follow_the_requested_order(
    count: int,
    batch_size: int,
    together: int,
    first: int,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    streamed: bool,
) -> None:
    rows = rows_of(count, *shape, dtype=dtype)
    source = (
        Stream(rows, batch_size, CPU, together)
        if streamed
        else Resident(rows, batch_size, together)
    )
    memory = source.memory(1).inputs.data_ptr()
    for epoch in range(2):
        order = torch.randperm(count, generator=torch.Generator().manual_seed(epoch))
        source.begin(order, first)
        left = order[first * batch_size :]
        while len(left):
            taken = source.take(together)
            index, left = left[: together * batch_size], left[together * batch_size :]
            assert torch.equal(taken.inputs, rows.inputs[index])
            assert torch.equal(taken.targets, rows.targets[index])
            assert taken.inputs.data_ptr() == memory


def test_abandoned_epoch_does_not_leak_into_the_next() -> None:
    rows = rows_of(40, 8)
    source = Stream(rows, 4, CPU, together=2)
    source.begin(torch.arange(40), 0)
    source.take()
    source.begin(torch.arange(40).flip(0), 0)
    assert source.take(2).targets.tolist() == list(range(39, 31, -1))


def test_views_of_larger_tensors_are_gathered_from_their_offset() -> None:
    whole = rows_of(10, 4)
    part = Rows(whole.inputs[3:], whole.targets[3:])
    source = Resident(part, 2)
    source.begin(torch.arange(7), 0)
    assert torch.equal(source.take().inputs, whole.inputs[3:5])


def test_streaming_starts_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("multiprocessing.process.BaseProcess.start", refuse)
    source = Stream(rows_of(40, 8), 4, CPU)
    source.begin(torch.arange(40), 0)
    while len(source.take()):
        pass
    names = {thread.name for thread in threading.enumerate()}
    assert any(name.startswith("gatherer") for name in names)
    del source
    for thread in threading.enumerate():
        if thread.name.startswith("gatherer"):
            thread.join(timeout=10)
            assert not thread.is_alive()


def test_batch_is_copied_on_a_side_stream_and_awaited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = FakeCuda(monkeypatch)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor.clone())
    monkeypatch.setattr(Rows, "to", lambda rows, device: Rows(*map(torch.zeros_like, _both(rows))))
    monkeypatch.setattr(
        torch.cuda, "current_stream", lambda device=None: cuda.defaults[cuda.second]
    )
    rows = rows_of(4, 8)
    slot = CudaSlot(Rows(*map(torch.zeros_like, _both(rows))), cuda.second)
    target = Rows(*map(torch.zeros_like, _both(rows_of(2, 8))))
    slot.wait()
    slot.deliver(slot.gather(rows, torch.tensor([2, 0])), target)
    assert torch.equal(target.inputs, rows.inputs[[2, 0]])
    copies, steps = devices.side_stream(cuda.second, "copies"), cuda.defaults[cuda.second]
    [used] = copies.waited_for
    [arrived] = steps.waited_for
    assert arrived.stream is copies
    assert used.stream is steps


def _both(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    return rows.inputs, rows.targets


@pytest.mark.parametrize(("size", "placement"), [(50, "resident"), (51, "streamed")])
def test_data_is_resident_if_it_fits_half_of_free_gpu_memory(
    monkeypatch: pytest.MonkeyPatch, size: int, placement: str
) -> None:
    monkeypatch.setattr(batches.devices, "free_bytes", lambda device: 100)
    assert place(size, torch.device("cuda", 0)) == placement
    assert place(size, CPU) == "resident"
