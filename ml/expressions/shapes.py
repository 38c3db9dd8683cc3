"""Limits on shapes, and result shapes computed before memory is allocated."""

import math
from collections.abc import Sequence
from itertools import zip_longest

from ml.errors import Invalid

Shape = tuple[int, ...]
Sizes = Sequence[int]

MAX_ELEMENTS = 1_000_000
MAX_DIMENSIONS = 8


def shown(shape: Sizes) -> str:
    """Return a shape as shown in messages: `(2, 3)`."""
    return f"({', '.join(map(str, shape))})"


def counted(number: int, noun: str) -> str:
    """Return `1 element`, `2 elements`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def volume(shape: Sizes) -> int:
    """Return the number of elements, counting empty dimensions as 1: the size when written."""
    return math.prod(max(size, 1) for size in shape)


def checked(shape: Sizes) -> Shape:
    """Return `shape` if a tensor of it is allowed.

    Raises:
        Invalid: it has too many elements or dimensions, or a negative size.
    """
    if any(size < 0 for size in shape):
        raise Invalid(f"a size cannot be negative, as in {shown(shape)}")
    if len(shape) > MAX_DIMENSIONS:
        raise Invalid(
            f"it would have {len(shape)} dimensions; at most {MAX_DIMENSIONS} are allowed"
        )
    if volume(shape) > MAX_ELEMENTS:
        raise Invalid(
            f"a tensor {shown(shape)} would have {volume(shape):,} elements; at most "
            f"{MAX_ELEMENTS:,} are allowed"
        )
    return tuple(shape)


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape that `shapes` broadcast to.

    Raises:
        Invalid: the shapes do not fit.
    """
    together: Shape = ()
    for shape in shapes:
        # Aligned from the right; the shorter shape is padded with 1s on its left.
        pairs = list(zip_longest(together[::-1], shape[::-1], fillvalue=1))
        for a, b in pairs:
            if a != b and 1 not in (a, b):
                raise Invalid(
                    f"shapes {shown(together)} and {shown(shape)} do not fit: aligned from the "
                    f"right, {a} and {b} must be equal or one of them 1"
                )
        together = tuple(b if a == 1 else a for a, b in reversed(pairs))
    return together


def product(one: Shape, other: Shape) -> Shape:
    """Return the shape of the matrix product of two tensors.

    Raises:
        Invalid: the shapes do not fit, or the broadcast operands are too large.
    """
    pair = f"cannot multiply {shown(one)} @ {shown(other)}"
    if not one or not other:
        raise Invalid(f"{pair}: a number has no rows and columns; use *")
    left, right = _as_matrices(one, other)
    if left[-1] != right[-2]:
        raise Invalid(
            f"{pair}: the inner sizes must match, and {left[-1]} is not {right[-2]}"
            + (
                "; transpose the second with .T"
                if left[-1] == right[-1] and len(other) == 2
                else ""
            )
        )
    batch = broadcast(left[:-2], right[:-2])
    for matrix in (left, right):
        # Each operand is repeated to the broadcast batch.
        checked((*batch, *matrix[-2:]))
    rows = left[-2:-1] if len(one) > 1 else ()
    columns = right[-1:] if len(other) > 1 else ()
    return (*batch, *rows, *columns)


def multiplications(one: Shape, other: Shape) -> int:
    """Return the number of multiplications in the matrix product of two tensors."""
    left, right = _as_matrices(one, other)
    return volume((*broadcast(left[:-2], right[:-2]), *left[-2:], right[-1]))


def _as_matrices(one: Shape, other: Shape) -> tuple[Shape, Shape]:
    left = one if len(one) > 1 else (1, *one)
    right = other if len(other) > 1 else (*other, 1)
    return left, right


def arranged(shape: Shape, sizes: Sizes, verb: str) -> Shape:
    """Return `sizes` as the new shape of a tensor of `shape`; a size of -1 is inferred.

    Raises:
        Invalid: the number of elements differs.
    """
    count = math.prod(shape)
    tensor = f"a tensor of {counted(count, 'element')} cannot be {verb} as {shown(sizes)}"
    if any(size < -1 for size in sizes) or list(sizes).count(-1) > 1:
        raise Invalid(f"{tensor}: one size may be -1, the others are 0 or more")
    known = math.prod(size for size in sizes if size != -1)
    if -1 in sizes:
        if not known or count % known:
            raise Invalid(f"{tensor}: {known:,} does not divide {count:,}")
        return tuple(count // known if size == -1 else size for size in sizes)
    if known != count:
        raise Invalid(f"{tensor}, which has {known:,}")
    return tuple(sizes)


def spaced(start: float, end: float, step: float) -> Shape:
    """Return the shape of `arange(start, end, step)`.

    Raises:
        Invalid: `step` is 0 or leads away from `end`.
    """
    if step == 0:
        raise Invalid("the step cannot be 0")
    if (end - start) * step < 0:
        raise Invalid(f"a step of {step} does not lead from {start} to {end}")
    count = (end - start) / step
    if not count <= MAX_ELEMENTS:
        raise Invalid(f"it would have {count:,.0f} elements; at most {MAX_ELEMENTS:,} are allowed")
    return (math.ceil(count),)
