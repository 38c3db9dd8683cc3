"""GPU queries and settings of this process. Every function also works without a GPU."""

import ctypes
import errno
import gc
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
from torch import Tensor

from ml.errors import Invalid

_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "_alloc_failed",
    "allocation_failed",
)
"""Message fragments: neither the CPU allocator nor CUDA's libraries raise a dedicated exception."""

_shares: dict[torch.device, float] = {}
_unsound: set[torch.device] = set()


def gpu_count() -> int:
    """Return the number of GPUs this process can use.

    NVML also counts devices that the installed CUDA cannot use.
    """
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def resolve(name: str) -> torch.device:
    """Return the device that a spec's `device` denotes on this machine; `auto` prefers a GPU.

    Raises:
        Invalid: the GPU does not exist or is not usable.
    """
    if name == "auto":
        name = "cuda" if gpu_count() else "cpu"
    device = torch.device("cuda", 0) if name == "cuda" else torch.device(name)
    if device.type == "cuda" and device.index >= (count := gpu_count()):
        choices = ", ".join(["auto", "cpu", *(f"cuda:{index}" for index in range(count))])
        message = f"{name} is not a usable CUDA device of this machine; choose one of {choices}"
        raise Invalid(message, ("device",))
    return device


def use(device: torch.device, share: float = 1.0) -> None:
    """Make `device` current and limit this process to a `share` (0 to 1] of its memory."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.cuda.set_per_process_memory_fraction(share, device)
        _shares[device] = share


def free_bytes(device: torch.device) -> int:
    """Return the bytes this process can still allocate on a GPU: free memory plus the unused part
    of its own cache, within its share."""
    free, total = torch.cuda.mem_get_info(device)
    allocated = torch.cuda.memory_allocated(device)
    cached = torch.cuda.memory_reserved(device) - allocated
    return max(0, min(free + cached, int(_shares.get(device, 1.0) * total) - allocated))


def release_memory(device: torch.device) -> None:
    """Collect garbage and return cached GPU memory to the driver."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def distrust(device: torch.device) -> None:
    """Mark `device` as unsound after an error that may persist in this process."""
    _unsound.add(device)


def is_sound(device: torch.device) -> bool:
    """Return whether this process can keep using `device`: most CUDA errors persist for the rest of
    the process."""
    if device.type != "cuda":
        return True
    if device in _unsound:
        return False
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` reports exhausted memory, of the machine or of a GPU."""
    match error:
        case MemoryError() | torch.OutOfMemoryError():
            return True
        case OSError():
            return error.errno == errno.ENOMEM
        case RuntimeError():
            return any(text in str(error).lower() for text in _OUT_OF_MEMORY)
    return False


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def used_bytes() -> dict[int, int]:
    """Return the bytes in use on each GPU, by any process; see `_memory`."""
    return {index: memory.used for index, memory in _memory().items()}


def total_bytes() -> dict[int, int]:
    """Return the memory of each GPU; see `_memory`."""
    return {index: memory.total for index, memory in _memory().items()}


def _memory() -> dict[int, _Memory]:
    """Return what NVML says of the memory of each GPU.

    NVML is queried because CUDA would first create a context of hundreds of MB on the GPU. GPUs
    that NVML does not report are left out: MIG instances, or all GPUs where NVML is missing.
    """
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        if nvml.nvmlInit_v2() != 0:
            return {}
        found = {index: _memory_of(nvml, index) for index in range(torch.cuda.device_count())}
    except (OSError, AttributeError):
        return {}
    return {index: memory for index, memory in found.items() if memory is not None}


def _memory_of(nvml: ctypes.CDLL, index: int) -> _Memory | None:
    try:
        # NVML also numbers the GPUs that CUDA_VISIBLE_DEVICES hides.
        ordinal = torch.cuda._get_nvml_device_index(index)
    except (RuntimeError, IndexError):
        return None
    handle, memory = ctypes.c_void_p(), _Memory()
    if (
        nvml.nvmlDeviceGetHandleByIndex_v2(ordinal, ctypes.byref(handle)) != 0
        or nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) != 0
    ):
        return None
    return memory


@cache
def side_stream(device: torch.device, purpose: str) -> torch.cuda.Stream:
    """Return the stream of `device` for `purpose`. It is reused, since every stream keeps its own
    library workspace and cached memory."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def current(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which `device` is current, as streams and graphs require."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def random_state(device: torch.device) -> Tensor:
    """Return the state of the default random generator of `device`."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.get_rng_state()


def set_random_state(device: torch.device, state: Tensor) -> None:
    """Set the state of the default random generator of `device`."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
