"""Result shapes of operations that may enlarge their arguments, and operations that take more than
one call of PyTorch."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ml.errors import Invalid
from ml.expressions import shapes
from ml.expressions.scalars import Number
from ml.expressions.shapes import Shape


def no_larger(*_: object) -> None:
    """Return None: the result has no more elements than the arguments."""


def size(value: Tensor | Number) -> Shape:
    """Return a tensor's shape; a number has no dimensions."""
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def broadcast(*values: Tensor | Number) -> Shape:
    """Return the broadcast shape of `values`."""
    return shapes.broadcast(*map(size, values))


def chosen(condition: Tensor, one: Tensor | Number, other: Tensor | Number) -> Shape:
    """Return the shape of `where(condition, one, other)`.

    Raises:
        Invalid: the condition is not boolean, or the shapes do not fit.
    """
    if condition.dtype != torch.bool:
        raise Invalid("the condition must be a boolean tensor, as x > 0")
    return broadcast(condition, one, other)


def product(one: Tensor, other: Tensor) -> Shape:
    """Return the shape of a matrix product."""
    return shapes.product(size(one), size(other))


def joined(tensors: list[Tensor], _: int) -> None:
    """Check the size of joined tensors: the sum of theirs.

    Raises:
        Invalid: they have too many elements.
    """
    shapes.checked((sum(tensor.numel() for tensor in tensors),))


def extreme(value: Tensor, dim: int | Tensor | None, _: bool) -> Shape | None:
    """Return the shape of an elementwise extreme of two tensors; None for a reduction."""
    return broadcast(value, dim) if isinstance(dim, Tensor) else None


def deviation(value: Tensor, dim: int | tuple[int, ...] | None, _: bool) -> None:
    """Check that a standard deviation is over at least two numbers.

    Raises:
        Invalid: there are fewer.
    """
    dims = (dim,) if isinstance(dim, int) else dim
    if math.prod(map(value.size, dims) if dims and value.dim() else value.shape) < 2:
        raise Invalid("it needs at least 2 numbers")


def extreme_by(run: Callable[..., Any]) -> Callable[..., Tensor]:
    """Wrap `torch.max` or `torch.min`: of all elements, along `dim`, or of two tensors."""

    def taken(value: Tensor, dim: int | Tensor | None, keepdim: bool) -> Tensor:
        if dim is None:
            return run(value)  # type: ignore[no-any-return]
        if isinstance(dim, Tensor):
            return run(value, dim)  # type: ignore[no-any-return]
        return run(value, dim, keepdim).values  # type: ignore[no-any-return]

    return taken


def bounds(start: Number, end: Number | None, step: Number) -> tuple[Number, Number, Number]:
    """Return start, end and step of a range; `arange(5)` gives only the end."""
    return (0, start, step) if end is None else (start, end, step)


def copied(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Return a copy of a tensor, detached from the graph."""
    return value.detach().to(dtype or value.dtype, copy=True)
