"""A stand-in for CUDA graphs on the CPU.

It keeps the protocol of a real capture: three warm-ups, then one pass that is recorded but not
executed, then replays into the same memory, which run none of the recorded Python code. It does not
emulate devices and streams.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ml.training.engines.cuda_graph import WARM_UPS, Replay

FREE = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view")
"""Calls that launch no kernel, in addition to views."""
WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal")
"""Calls that synchronize with the device, which graphs cannot contain."""


class RecordedGraphs:
    """Stand-in for `ml.training.engines.cuda_graph.CudaGraphs`."""

    def __init__(self) -> None:
        self.kernels: list[int] = []
        """Number of kernels each graph launches, one per computing call."""

    @property
    def recorded(self) -> int:
        return len(self.kernels)

    def record(
        self,
        body: Callable[[], None],
        warm_up: Callable[[], None] | None = None,
        undo: Callable[[], None] = lambda: None,
    ) -> Replay:
        for _ in range(WARM_UPS):
            (warm_up or body)()
        undo()
        random = torch.get_rng_state()
        graph_recorder = _Tape()
        with graph_recorder:
            body()
        graph_recorder.undo()
        torch.set_rng_state(random)
        self.kernels.append(graph_recorder.kernels)
        return graph_recorder.replay


class _Tape(TorchDispatchMode):
    """The calls of PyTorch's kernels, with the original tensors they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self._before: dict[int, tuple[UntypedStorage, UntypedStorage]] = {}
        self._own: dict[int, UntypedStorage] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket.__name__ in WAITS:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        for storage in _storages((args, kwargs)):
            place = storage.data_ptr()
            if storage.nbytes() and place not in self._own and place not in self._before:
                self._before[place] = storage, storage.clone()
        result = func(*args, **kwargs)
        for storage in _storages(result):
            if storage.data_ptr() not in self._before:
                self._own[storage.data_ptr()] = storage
        self._calls.append((func, args, kwargs, result))
        return result

    def undo(self) -> None:
        """Restore the previous content, since a capture executes nothing."""
        for storage, value in self._before.values():
            storage.copy_(value)

    @property
    def kernels(self) -> int:
        return sum(not func.is_view and "empty" not in func.name() for func, *_ in self._calls)

    @torch.no_grad()
    def replay(self) -> None:
        """Repeat the calls, into the same memory."""
        for storage in self._own.values():
            storage.fill_(0xFF)  # a graph's own memory is undefined when it begins
        for func, args, kwargs, result in self._calls:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and not _same_memory(old, new):
                    old.copy_(new)


def _kernels(func: Any, args: tuple[Any, ...]) -> int:
    """Estimate the number of kernels on a GPU: one for each tensor of a `_foreach` call."""
    name = func.overloadpacket.__name__
    if func.is_view or name in FREE:
        return 0
    return len(args[0]) if name.startswith("_foreach") else 1


def _storages(tree: Any) -> list[UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _same_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
