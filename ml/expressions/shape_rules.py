"""How large an operation's result is that may be larger than what it is made from, and the few runs
that are more than one call of PyTorch's."""

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
    """Tell that the result is no larger than the arguments, whatever its shape."""


def size(value: Tensor | Number) -> Shape:
    """Return a tensor's shape; a number has no dimensions."""
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def broadcast(*values: Tensor | Number) -> Shape:
    """Return the shape of values together, elementwise."""
    return shapes.broadcast(*map(size, values))


def chosen(condition: Tensor, one: Tensor | Number, other: Tensor | Number) -> Shape:
    """Return the shape of elements chosen by a condition.

    Raises:
        Invalid: it is none.
    """
    if condition.dtype != torch.bool:
        raise Invalid("the condition must be of booleans, as x > 0")
    return broadcast(condition, one, other)


def product(one: Tensor, other: Tensor) -> Shape:
    """Return the shape of a matrix product."""
    return shapes.product(size(one), size(other))


def joined(tensors: list[Tensor], _: int) -> None:
    """Tell that the result has as many elements as the tensors together.

    Raises:
        Invalid: they are too many.
    """
    shapes.checked((sum(tensor.numel() for tensor in tensors),))


def extreme(value: Tensor, dim: int | Tensor | None, _: bool) -> Shape | None:
    """Return the shape of a tensor's elements beside another's, if they are not its own."""
    return broadcast(value, dim) if isinstance(dim, Tensor) else None


def deviation(value: Tensor, dim: int | tuple[int, ...] | None, _: bool) -> None:
    """Do nothing for a tensor that has what a standard deviation is taken of.

    Raises:
        Invalid: it is a single number.
    """
    dims = (dim,) if isinstance(dim, int) else dim
    if math.prod(map(value.size, dims) if dims and value.dim() else value.shape) < 2:
        raise Invalid("it needs at least 2 numbers to compare")


def extreme_by(run: Callable[..., Any]) -> Callable[..., Tensor]:
    """Return what takes the extreme of all, along `dim`, or of each element and another's."""

    def taken(value: Tensor, dim: int | Tensor | None, keepdim: bool) -> Tensor:
        if dim is None:
            return run(value)  # type: ignore[no-any-return]
        if isinstance(dim, Tensor):
            return run(value, dim)  # type: ignore[no-any-return]
        return run(value, dim, keepdim).values  # type: ignore[no-any-return]

    return taken


def bounds(start: Number, end: Number | None, step: Number) -> tuple[Number, Number, Number]:
    """Return start, end and step of a range, which `arange(5)` gives the end of alone."""
    return (0, start, step) if end is None else (start, end, step)


def copied(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Return a tensor of its own memory, without a history."""
    return value.detach().to(dtype or value.dtype, copy=True)
