"""Recording of CUDA graphs: device, stream, order of calls, and failures."""

import gc

import pytest
import torch

from ml import devices
from ml.training.engines.base import CudaSideStream
from ml.training.engines.cuda_graph import CudaGraphs
from tests.ml.training.fake_cuda import FakeCuda


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return FakeCuda(monkeypatch)


def test_run_on_the_second_device_is_captured_there(cuda: FakeCuda) -> None:
    graphs = CudaGraphs(cuda.second)
    replay = graphs.record(
        lambda: cuda.note("step"), lambda: cuda.note("warm-up"), lambda: cuda.note("undo")
    )
    with devices.current(cuda.second):
        replay()
    what = ["warm-up"] * 3 + ["undo", "synchronize", "begin", "step", "end", "replay"]
    assert cuda.account == [f"{word} on cuda:1" for word in what]
    assert cuda.device == cuda.first
    assert cuda.streams == cuda.defaults


def test_capture_waits_for_the_current_stream_and_vice_versa(cuda: FakeCuda) -> None:
    CudaGraphs(cuda.first).record(lambda: None)
    capture = devices.side_stream(cuda.first, "capture")
    default = cuda.defaults[cuda.first]
    assert capture.waited_for == [default]
    assert default.waited_for == [capture]


def test_graphs_of_a_run_share_memory_and_all_runs_share_a_stream(cuda: FakeCuda) -> None:
    first, second = CudaGraphs(cuda.first), CudaGraphs(cuda.first)
    pools = [
        graphs.record(lambda: None).__self__.pool  # type: ignore[attr-defined]
        for graphs in (first, first, second)
    ]
    assert pools == [1, 1, 2]
    assert devices.side_stream(cuda.first, "capture") is devices.side_stream(cuda.first, "capture")
    assert devices.side_stream(cuda.second, "capture").device == cuda.second


def test_failed_capture_is_ended(cuda: FakeCuda) -> None:
    def broken() -> None:
        cuda.note("step")
        raise RuntimeError("operation not permitted")

    graphs = CudaGraphs(cuda.second)
    with pytest.raises(RuntimeError, match="operation not permitted"):
        graphs.record(broken, lambda: None)
    assert cuda.account[-2:] == ["step on cuda:1", "end on cuda:1"]
    assert cuda.streams == cuda.defaults
    assert cuda.device == cuda.first


def test_garbage_collection_is_off_during_captures(cuda: FakeCuda) -> None:
    states = []
    CudaGraphs(cuda.first).record(lambda: states.append(gc.isenabled()))
    assert states == [False] * 4
    assert gc.isenabled()


def test_side_stream_waits_for_the_main_stream_and_is_joined(cuda: FakeCuda) -> None:
    side_stream = CudaSideStream(cuda.second)
    side, main = devices.side_stream(cuda.second, "side"), cuda.defaults[cuda.second]
    with devices.current(cuda.second):
        with side_stream:
            assert torch.cuda.current_stream() is side
            assert side.waited_for == [main]
        assert torch.cuda.current_stream() is main
        side_stream.join()
    assert main.waited_for == [side]
