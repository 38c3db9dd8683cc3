"""What stands in brackets: `x[0, 1:3, ..., None]`, `x[x > 2]`, `x[[0, 2]]`."""

from collections.abc import Sequence
from types import EllipsisType
from typing import NamedTuple

import torch
from torch import Tensor

from ml.errors import Invalid
from ml.expressions.shapes import Shape, broadcast, counted, shown

Item = int | slice | None | EllipsisType | Tensor


class Index(NamedTuple):
    """What to take from a tensor, and how much that is: the sizes in any order."""

    items: tuple[Item, ...]
    sizes: Shape

    @property
    def is_view(self) -> bool:
        """Whether no number is copied."""
        return not any(isinstance(item, Tensor) for item in self.items)


def index(shape: Shape, items: Sequence[Item]) -> Index:
    """Return what `items` take from a tensor of `shape`.

    Raises:
        Invalid: there are too many, or one is out of range, no whole number, or a mask of another
            shape.
    """
    plain = [_plain(item) for item in items]
    if sum(item is ... for item in plain) > 1:
        raise Invalid("'...' can stand in an index once only")
    consumed = sum(map(_dimensions, plain))
    if consumed > len(shape):
        raise Invalid(
            f"a tensor {shown(shape)} has {counted(len(shape), 'dimension')}, and cannot be "
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
    """Return a tensor without dimensions as the number it is."""
    if not isinstance(item, Tensor):
        return item
    if item.is_floating_point():
        raise Invalid("an index is a whole number; use .long()")
    if item.dim():
        return item
    if item.dtype == torch.bool:
        raise Invalid("True and False are no index; a mask has the shape of what it chooses from")
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
                f"a mask {shown(item.shape)} does not fit {shown(chosen_from)}, what it chooses "
                "from; the shapes must be equal"
            )
        return (int(item.sum()),)
    if item.numel():
        _check_range(int(item.min()), int(item.max()), at, shape)
    return tuple(item.shape)


def _check_range(low: int, high: int, at: int, shape: Shape) -> None:
    size = shape[at]
    for position in (low, high):
        if not -size <= position < size:
            allowed = f"-{size} to {size - 1}" if size else "nothing"
            raise Invalid(
                f"index {position} is out of range: dimension {at} of {shown(shape)} has the size "
                f"{size}, so that {allowed} can be taken"
            )
