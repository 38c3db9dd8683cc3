"""Indices: `x[0, 1:3, ..., None]`, `x[x > 2]`, `x[[0, 2]]`."""

from collections.abc import Sequence
from types import EllipsisType
from typing import NamedTuple

import torch
from torch import Tensor

from ml.errors import Invalid
from ml.expressions.shapes import Shape, broadcast, counted, shown

Item = int | slice | None | EllipsisType | Tensor


class Index(NamedTuple):
    """A checked index into a tensor, and the sizes of its result, in any order."""

    items: tuple[Item, ...]
    sizes: Shape

    @property
    def is_view(self) -> bool:
        """Whether the result shares the tensor's memory."""
        return not any(isinstance(item, Tensor) for item in self.items)


def index(shape: Shape, items: Sequence[Item]) -> Index:
    """Check `items` as an index into a tensor of `shape`.

    Raises:
        Invalid: there are too many items, or one is out of range, not a whole number, or a mask of
            another shape.
    """
    plain = [_plain(item) for item in items]
    if sum(item is ... for item in plain) > 1:
        raise Invalid("an index can have '...' only once")
    consumed = sum(map(_dimensions, plain))
    if consumed > len(shape):
        raise Invalid(
            f"a tensor {shown(shape)} has {counted(len(shape), 'dimension')} and cannot be "
            f"indexed by {consumed}"
        )
    kept_sizes: list[int] = []
    picked: list[Shape] = []
    at = 0
    for item in plain:
        if item is ...:
            kept_sizes += shape[at : at + len(shape) - consumed]
            at += len(shape) - consumed
        elif item is None:
            kept_sizes.append(1)
        elif isinstance(item, slice):
            kept_sizes.append(_length(item, shape[at]))
            at += 1
        elif isinstance(item, int):
            _check_range(item, item, at, shape)
            at += 1
        else:
            picked.append(_picked(item, at, shape))
            at += _dimensions(item)
    return Index(tuple(plain), (*broadcast(*picked), *kept_sizes, *shape[at:]))


def _plain(item: Item) -> Item:
    """Return an item, a tensor without dimensions as a number."""
    if not isinstance(item, Tensor):
        return item
    if item.is_floating_point():
        raise Invalid("an index must be a whole number; use .long()")
    if item.dim():
        return item
    if item.dtype == torch.bool:
        raise Invalid(
            "True and False cannot be an index; a mask must have the shape of the tensor it indexes"
        )
    return int(item.item())


def _dimensions(item: Item) -> int:
    if item is None or item is ...:
        return 0
    return item.dim() if isinstance(item, Tensor) and item.dtype == torch.bool else 1


def _length(part: slice, size: int) -> int:
    if part.step is not None and part.step <= 0:
        raise Invalid(f"the step of a slice must be 1 or more, not {part.step}; use flip(x, 0)")
    return len(range(*part.indices(size)))


def _picked(item: Tensor, at: int, shape: Shape) -> Shape:
    if item.dtype == torch.bool:
        chosen_from = shape[at : at + item.dim()]
        if tuple(item.shape) != chosen_from:
            raise Invalid(
                f"a mask {shown(item.shape)} does not fit {shown(chosen_from)}, the shape it "
                "indexes; the shapes must be equal"
            )
        return (int(item.sum()),)
    if item.numel():
        _check_range(int(item.min()), int(item.max()), at, shape)
    return tuple(item.shape)


def _check_range(low: int, high: int, at: int, shape: Shape) -> None:
    size = shape[at]
    for position in (low, high):
        if not -size <= position < size:
            allowed = f"allowed are -{size} to {size - 1}" if size else "no index is allowed"
            raise Invalid(
                f"index {position} is out of range: dimension {at} of {shown(shape)} has the size "
                f"{size}; {allowed}"
            )
