"""A stand-in on the CPU for CUDA graphs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WARM_UPS = 3
FREE = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view")
"""Operations beside views that launch no kernel."""
WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal")
"""Operations that a GPU can only do by making the host wait for it, which no graph holds."""

Step = Callable[[], None]


class RecordedGraph:
    """Operations with the very tensors that they were called with, which can be done again.

    As with a CUDA graph, a replay runs no Python that lies around the operations: it reads and
    writes the same memory and takes numbers as they were. Random numbers are drawn onward from the
    default generator.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def record(self, step: Step) -> None:
        """Record what `step` does, and undo it, since a capture does nothing.

        Raises:
            RuntimeError: it waits for the device.
        """
        recorder = _Recorder()
        with torch.random.fork_rng([]):
            try:
                with recorder:
                    step()
            finally:
                recorder.undo()
        self._calls = recorder.calls

    @property
    def launches(self) -> int:
        """How many kernels a GPU would launch, about: one for each operation, and for each tensor
        that a `_foreach` operation goes through."""
        return sum(call.launches for call in self._calls)

    @torch.no_grad()
    def replay(self) -> None:
        """Do it all again."""
        for call in self._calls:
            call()


def capture(device: torch.device, step: Step) -> Step:
    """Return what replays `step`, which is done a few times before."""
    for _ in range(WARM_UPS):
        step()
    graph = RecordedGraph()
    graph.record(step)
    return graph.replay


class _Call:
    """An operation with its arguments and the memory of its results."""

    def __init__(self, operation: Any, args: Any, kwargs: Any, results: Any) -> None:
        self._operation = operation
        self._args = args
        self._kwargs = kwargs
        self._results = results

    @property
    def launches(self) -> int:
        """How many kernels it launches."""
        name = self._operation.overloadpacket.__name__
        if self._operation.is_view or name in FREE:
            return 0
        return len(self._args[0]) if name.startswith("_foreach") else 1

    def __call__(self) -> None:
        results = self._operation(*self._args, **self._kwargs)
        for own, new in zip(_tensors(self._results), _tensors(results), strict=True):
            if _address(own) != _address(new):
                own.copy_(new)


class _Recorder(TorchDispatchMode):
    """Notes operations as they are done, and what lay in the memory that they found."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[_Call] = []
        self._before: dict[int, tuple[UntypedStorage, UntypedStorage]] = {}
        self._made: set[int] = set()

    def undo(self) -> None:
        """Put back what was there."""
        for storage, content in self._before.values():
            storage.copy_(content)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket.__name__ in WAITS:
            raise RuntimeError(f"{func} waits for the device, which is capturing")
        for tensor in _tensors((args, kwargs)):
            storage = tensor.untyped_storage()
            address = storage.data_ptr()
            if storage.nbytes() and address not in self._made and address not in self._before:
                self._before[address] = storage, storage.clone()
        results = func(*args, **kwargs)
        self._made |= {_address(tensor) for tensor in _tensors(results)} - self._before.keys()
        # The results are kept, so that no address is given away twice.
        self.calls.append(_Call(func, args, kwargs, results))
        return results


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
