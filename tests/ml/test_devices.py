"""GPU queries, as far as they can be tested without a GPU."""

import ctypes
import errno
import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from ml import devices
from ml.errors import Invalid
from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'"),
        RuntimeError("CUDA driver error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("unable to mmap 8 bytes from file </f>: Cannot allocate memory (12)"),
        RuntimeError("std::bad_alloc"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=str,
)
def test_out_of_memory_errors_are_recognized(error: Exception) -> None:
    assert devices.is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
        RuntimeError("unsupported operation: the input tensors share the same memory location"),
        ValueError("out of memory"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
    ids=str,
)
def test_other_errors_are_not_out_of_memory(error: Exception) -> None:
    assert not devices.is_out_of_memory(error)


def test_real_allocator_error_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60)
    assert devices.is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    ("gpus", "name", "device"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (1, "auto", "cuda:0"),
        (1, "cpu", "cpu"),
        (1, "cuda", "cuda:0"),
        (2, "cuda:1", "cuda:1"),
    ],
)
def test_device_names_are_resolved(
    monkeypatch: pytest.MonkeyPatch, gpus: int, name: str, device: str
) -> None:
    monkeypatch.setattr(devices, "gpu_count", lambda: gpus)
    assert devices.resolve(name) == torch.device(device)


@pytest.mark.parametrize(
    ("gpus", "name", "choices"),
    [(0, "cuda", "auto, cpu"), (1, "cuda:1", "auto, cpu, cuda:0"), (0, "cuda:0", "auto, cpu")],
)
def test_missing_gpu_is_refused(
    monkeypatch: pytest.MonkeyPatch, gpus: int, name: str, choices: str
) -> None:
    monkeypatch.setattr(devices, "gpu_count", lambda: gpus)
    with pytest.raises(Invalid, match=f"^{name} is not a usable .* {choices}$") as raised:
        devices.resolve(name)
    assert raised.value.loc == ("device",)


def test_gpus_unusable_by_cuda_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.gpu_count() == 0
    assert devices.resolve("auto").type == "cpu"


class FakeNvml:
    """A fake libnvidia-ml.so.1 of a machine with three GPUs."""

    uuids = ("GPU-aaaa", "GPU-abbb", "GPU-cccc")
    used = (100, 200, 300)

    def __init__(self, failing: str = "") -> None:
        self._failing = failing

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)
        function = getattr(self, f"_{name.removesuffix('_v2')}")
        return (lambda *_: 1) if name.removesuffix("_v2") == self._failing else function

    def _nvmlInit(self) -> int:  # noqa: N802
        return 0

    def _nvmlDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.uuids)
        return 0

    def _nvmlDeviceGetHandleByIndex(self, index: int, handle: Any) -> int:  # noqa: N802
        handle._obj.value = 1000 + index
        return 0

    def _nvmlDeviceGetUUID(self, handle: Any, text: Any, size: int) -> int:  # noqa: N802
        text.value = self.uuids[handle.value - 1000].encode()
        return 0

    def _nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:  # noqa: N802
        memory._obj.used = self.used[handle.value - 1000]
        memory._obj.total = memory._obj.free = 10**12
        return 0


def install_nvml(monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml | None) -> None:
    """Replace the driver's library by `nvml`, or remove it if None."""

    def load(name: str) -> FakeNvml:
        if nvml is None or name != "libnvidia-ml.so.1":
            raise OSError(f"{name}: cannot open shared object file")
        return nvml

    def refuse() -> None:
        raise AssertionError("CUDA was initialised")

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(torch.cuda, "_lazy_init", refuse)
    monkeypatch.setattr(torch.cuda, "_is_compiled", lambda: True)
    monkeypatch.setattr(torch.cuda, "_cached_device_count", None)
    monkeypatch.setattr(torch._C, "_cuda_getDeviceCount", lambda: 0, raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("visible", "used"),
    [
        (None, {0: 100, 1: 200, 2: 300}),
        ("2,0", {0: 300, 1: 100}),
        ("1", {0: 200}),
        ("GPU-cccc,GPU-aa", {0: 300, 1: 100}),
        ("", {}),
        ("-1", {}),
        ("7", {}),
    ],
)
def test_memory_is_reported_for_visible_gpus(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, used: dict[int, int]
) -> None:
    install_nvml(monkeypatch, FakeNvml())
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.used_bytes() == used


def test_memory_is_not_reported_for_mig_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    install_nvml(monkeypatch, FakeNvml())
    monkeypatch.setattr(torch._C, "_cuda_getDeviceCount", lambda: 1, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-aaaa")
    assert devices.used_bytes() == {}


def test_memory_is_not_reported_without_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    install_nvml(monkeypatch, None)
    monkeypatch.setattr(torch._C, "_cuda_getDeviceCount", lambda: 2, raising=False)
    assert devices.used_bytes() == {}


@pytest.mark.parametrize(
    "failing", ["nvmlInit", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetMemoryInfo"]
)
def test_memory_is_not_reported_if_nvml_fails(
    monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    install_nvml(monkeypatch, FakeNvml(failing))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert devices.used_bytes() == {}


GPU = torch.device("cuda", 0)
POISON = """
import torch
from ml import devices
gpu = torch.device("cuda", 0)
devices.use(gpu)
assert devices.is_sound(gpu)
try:
    torch.zeros(2, device=gpu)[torch.tensor([7], device=gpu)].sum().item()
except RuntimeError:
    print("sound" if devices.is_sound(gpu) else "unsound")
"""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_is_unsound_after_an_error() -> None:
    # In a separate process, which cannot use the GPU afterwards.
    done = subprocess.run(
        [sys.executable, "-c", POISON],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.stdout.strip() == "unsound"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_process_stays_within_its_share_and_releases_unused_memory() -> None:
    devices.use(GPU, 0.25)
    try:
        free, total = torch.cuda.mem_get_info(GPU)
        assert devices.free_bytes(GPU) <= total // 4
        with pytest.raises(torch.OutOfMemoryError) as raised:
            torch.empty(total // 2, dtype=torch.uint8, device=GPU)
        assert devices.is_out_of_memory(raised.value)
        assert devices.is_sound(GPU)
        held = torch.empty(min(free, total) // 8, dtype=torch.uint8, device=GPU)
        del held
        devices.release_memory(GPU)
        assert torch.cuda.memory_reserved(GPU) < total // 8
    finally:
        devices.use(GPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_nvml_and_cuda_report_the_same_memory() -> None:
    free, total = torch.cuda.mem_get_info(GPU)
    # NVML includes the driver's reserved memory, about 1 GB on a large GPU.
    assert devices.used_bytes()[0] == pytest.approx(total - free, abs=2 << 30)
