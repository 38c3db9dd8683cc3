"""Rules: the shape of an operation's result from its arguments, and the few runs that are more than
one call of PyTorch's. What does not fit is `Invalid`, in a sentence."""

from typing import Any

import torch
from torch import Tensor

from ml.errors import Invalid
from ml.expressions import shapes
from ml.expressions.scalars import Number
from ml.expressions.shapes import Shape
from ml.expressions.values import dtype_name


def size(value: Tensor | Number) -> Shape:
    """Return a tensor's shape; a number has no dimensions."""
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def same(value: Tensor, *_: object) -> Shape:
    """Return the shape that an operation leaves as it is."""
    return size(value)


def broadcast(*values: Tensor | Number) -> Shape:
    """Return the shape of values together, elementwise."""
    return shapes.broadcast(*map(size, values))


def _same_dtype(name: str, one: Tensor, other: Tensor) -> None:
    if one.dtype != other.dtype:
        raise Invalid(
            f"{name} takes two tensors of one dtype; {dtype_name(one.dtype)} is not "
            f"{dtype_name(other.dtype)}: use .float()"
        )


def _floats(value: Tensor) -> None:
    if not value.is_floating_point():
        raise Invalid(f"it needs floats, not {dtype_name(value.dtype)}: use .float()")


def product(one: Tensor, other: Tensor) -> Shape:
    """Return the shape of a matrix product."""
    shape = shapes.product(size(one), size(other))
    _same_dtype("@", one, other)
    return shape


def dot(one: Tensor, other: Tensor) -> Shape:
    """Return the shape of a dot product."""
    shape = shapes.dot(size(one), size(other))
    _same_dtype("dot", one, other)
    return shape


def reduced(value: Tensor, dim: Any = None, keepdim: bool = False) -> Shape:
    """Return what is left of the shape when `dim` is summed up."""
    return shapes.reduced(size(value), dim, keepdim)


def mean(value: Tensor, dim: Any = None, keepdim: bool = False) -> Shape:
    """Return what is left of the shape when `dim`, of floats, is averaged."""
    _floats(value)
    return reduced(value, dim, keepdim)


def deviation(value: Tensor, dim: Any, keepdim: bool) -> Shape:
    """Return what is left of the shape when `dim` becomes its standard deviation."""
    shape = mean(value, dim, keepdim)
    if value.numel() < 2 * shapes.volume(shape):
        raise Invalid("it needs at least 2 numbers to compare")
    return shape


def extreme(value: Tensor, dim: int | Tensor | None, keepdim: bool) -> Shape:
    """Return what is left of the shape when `dim` becomes its largest or smallest."""
    if isinstance(dim, Tensor):
        return broadcast(value, dim)
    if not value.numel():
        raise Invalid(f"a tensor {shapes.shown(value.shape)} is empty and has none")
    return reduced(value, dim, keepdim and dim is not None)


def largest(value: Tensor, dim: int | Tensor | None, keepdim: bool) -> Tensor:
    """Return the largest: of all, along `dim`, or of each element and another tensor's."""
    if dim is None:
        return torch.max(value)
    if isinstance(dim, Tensor):
        return torch.maximum(value, dim)
    return torch.max(value, dim, keepdim).values


def smallest(value: Tensor, dim: int | Tensor | None, keepdim: bool) -> Tensor:
    """Return the smallest: of all, along `dim`, or of each element and another tensor's."""
    if dim is None:
        return torch.min(value)
    if isinstance(dim, Tensor):
        return torch.minimum(value, dim)
    return torch.min(value, dim, keepdim).values


def along(value: Tensor, dim: int) -> Shape:
    """Return the shape, in which there is a dimension `dim`."""
    shapes.place(dim, value.dim())
    return size(value)


def normalized(value: Tensor, dim: int) -> Shape:
    """Return the shape of floats, in which there is a dimension `dim`."""
    _floats(value)
    return along(value, dim)


def chosen(condition: Tensor, one: Tensor | Number, other: Tensor | Number) -> Shape:
    """Return the shape of elements chosen by a condition."""
    if condition.dtype != torch.bool:
        raise Invalid("the condition must be of booleans, as x > 0")
    return broadcast(condition, one, other)


def viewed(value: Tensor, size: Shape) -> Tensor:
    """Return the tensor's own memory in another shape."""
    try:
        return value.view(size)
    except RuntimeError:
        raise Invalid(
            f"this tensor {shapes.shown(value.shape)} cannot be viewed as {shapes.shown(size)}, "
            "since its numbers do not lie in memory in that order; use reshape, which copies"
        ) from None


def turned(value: Tensor) -> Shape:
    """Return the shape of a matrix with rows and columns exchanged."""
    if value.dim() > 2:
        raise Invalid(f"a tensor of {value.dim()} dimensions is turned by permute(...), not by T")
    return size(value)[::-1]


def swapped(value: Tensor, one: int, other: int) -> Shape:
    """Return the shape with two dimensions exchanged."""
    sizes = list(value.shape)
    a, b = shapes.place(one, len(sizes)), shapes.place(other, len(sizes))
    if sizes:
        sizes[a], sizes[b] = sizes[b], sizes[a]
    return tuple(sizes)


def permuted(value: Tensor, dims: tuple[int, ...]) -> Shape:
    """Return the shape with its dimensions in another order."""
    order = shapes.places(dims, value.dim()) if dims else ()
    if len(order) != value.dim():
        raise Invalid(f"it needs the order of all {value.dim()} dimensions")
    return tuple(value.shape[dim] for dim in order)


def squeezed(value: Tensor, dim: int | None) -> Shape:
    """Return the shape without its dimensions of size 1."""
    if dim is None:
        return tuple(size for size in value.shape if size != 1)
    at = shapes.place(dim, value.dim())
    return tuple(size for i, size in enumerate(value.shape) if i != at or size != 1)


def widened(value: Tensor, dim: int) -> Shape:
    """Return the shape with a new dimension of size 1."""
    at = shapes.place(dim, value.dim() + 1)
    return (*value.shape[:at], 1, *value.shape[at:])


def bounds(start: Number, end: Number | None, step: Number) -> tuple[Number, Number, Number]:
    """Return start, end and step of a range, which `arange(5)` gives the end of alone."""
    return (0, start, step) if end is None else (start, end, step)


def only(value: Tensor) -> Shape:
    """Return the shape of the one element that there must be."""
    if value.numel() != 1:
        raise Invalid(f"only a tensor of one element is a number, not {shapes.shown(value.shape)}")
    return ()


def copied(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Return a tensor of its own memory, without a history."""
    return value.detach().to(dtype or value.dtype, copy=True)
