"""What this process asks of its GPUs. Without one every function is cheap and says so."""

import gc
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
from torch import Tensor

_shares: dict[torch.device, float] = {}
_unsound: set[torch.device] = set()


def gpu_count() -> int:
    """Return how many GPUs this process can really use.

    The driver may list devices that the installed CUDA cannot use: NVML counts them, CUDA does not.
    """
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def resolve(name: str) -> torch.device:
    """Return the device that a spec's `device` means on this machine; `auto` prefers a GPU."""
    if name == "auto":
        name = "cuda" if gpu_count() else "cpu"
    device = torch.device(name)
    return torch.device("cuda", 0) if name == "cuda" else device


def use(device: torch.device, share: float = 1.0) -> None:
    """Make `device` this process's current one, of whose memory it may take `share` (0 to 1]."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.cuda.set_per_process_memory_fraction(share, device)
        _shares[device] = share


def free_bytes(device: torch.device) -> int:
    """Return how much of a GPU's memory this process can still allocate: what is free, and what its
    own cache holds unused, within its share."""
    free, total = torch.cuda.mem_get_info(device)
    allocated = torch.cuda.memory_allocated(device)
    cached = torch.cuda.memory_reserved(device) - allocated
    return max(0, min(free + cached, int(_shares.get(device, 1.0) * total) - allocated))


def release_memory(device: torch.device) -> None:
    """Give back what dead objects hold on a GPU."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def distrust(device: torch.device) -> None:
    """Note that something went wrong on `device` that may stay with this process."""
    _unsound.add(device)


def is_sound(device: torch.device) -> bool:
    """Return whether this process can go on using `device`: most errors of a GPU stay with the
    process that met them."""
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
    """Return whether `error` says that memory, of the machine or of a GPU, was not enough."""
    # Neither the CPU allocator nor CUDA's libraries have an exception of their own for it.
    texts = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
    )


@cache
def side_stream(device: torch.device, purpose: str) -> torch.cuda.Stream:
    """Return the stream of `device` for `purpose`: always the same, since each stream that was ever
    used keeps workspace of the libraries and cached memory for itself."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def current(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which `device` is the current one, as streams and graphs need."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def random_state(device: torch.device) -> Tensor:
    """Return the state of the random generator that layers on `device` draw from."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.get_rng_state()


def set_random_state(device: torch.device, state: Tensor) -> None:
    """Set the state of the random generator that layers on `device` draw from."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
