"""What shape an operation's result has, known before any memory is taken for it."""

import math
from collections.abc import Sequence

from ml.errors import Invalid

Shape = tuple[int, ...]
Sizes = Sequence[int]

MAX_ELEMENTS = 1_000_000
MAX_DIMENSIONS = 8


def shown(shape: Sizes) -> str:
    """Return a shape as sentences show it: `(2, 3)`."""
    return f"({', '.join(map(str, shape))})"


def counted(number: int, noun: str) -> str:
    """Return `1 element`, `2 elements`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def volume(shape: Sizes) -> int:
    """Return how many elements and, where a dimension is empty, lists a tensor has to be written
    with: at least 1."""
    return math.prod(max(size, 1) for size in shape)


def checked(shape: Sizes) -> Shape:
    """Return `shape`, in which a tensor can be made.

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
    """Return the shape that tensors of `shapes` have together, elementwise.

    Raises:
        Invalid: they do not fit.
    """
    together: Shape = ()
    for shape in shapes:
        together = _pair(together, shape)
    return together


def _pair(one: Shape, other: Shape) -> Shape:
    length = max(len(one), len(other))
    sizes = []
    for a, b in zip(_padded(one, length), _padded(other, length), strict=True):
        if a != b and 1 not in (a, b):
            raise Invalid(
                f"shapes {shown(one)} and {shown(other)} do not fit: aligned from the right, "
                f"{a} and {b} must be equal or one of them 1"
            )
        sizes.append(b if a == 1 else a)
    return tuple(sizes)


def _padded(shape: Shape, length: int) -> Shape:
    return (1,) * (length - len(shape)) + shape


def product(one: Shape, other: Shape) -> Shape:
    """Return the shape of the matrix product of two tensors.

    Raises:
        Invalid: they do not fit, or are too large on the way.
    """
    pair = f"cannot multiply {shown(one)} @ {shown(other)}"
    if not one or not other:
        raise Invalid(f"{pair}: a number has no rows and columns; use *")
    left, right = _as_matrices(one, other)
    if left[-1] != right[-2]:
        raise Invalid(
            f"{pair}: the inner sizes must match, and {left[-1]} is not {right[-2]}"
            + ("; turn the second with .T" if left[-1] == right[-1] and len(other) == 2 else "")
        )
    batch = broadcast(left[:-2], right[:-2])
    for matrix in (left, right):
        # Each is repeated as often as the batch of the other wants it.
        checked((*batch, *matrix[-2:]))
    rows = left[-2:-1] if len(one) > 1 else ()
    columns = right[-1:] if len(other) > 1 else ()
    return (*batch, *rows, *columns)


def multiplications(one: Shape, other: Shape) -> int:
    """Return how many multiplications the matrix product of two tensors takes."""
    left, right = _as_matrices(one, other)
    return volume((*broadcast(left[:-2], right[:-2]), *left[-2:], right[-1]))


def _as_matrices(one: Shape, other: Shape) -> tuple[Shape, Shape]:
    left = one if len(one) > 1 else (1, *one)
    right = other if len(other) > 1 else (*other, 1)
    return left, right


def dot(one: Shape, other: Shape) -> Shape:
    """Return the shape of the dot product of two vectors.

    Raises:
        Invalid: they are no vectors, or not of one length.
    """
    if len(one) != 1 or len(other) != 1:
        raise Invalid(
            f"dot takes two tensors of one dimension, not {shown(one)} and {shown(other)}; use @"
        )
    if one != other:
        raise Invalid(f"dot takes two tensors of one length; {one[0]} is not {other[0]}")
    return ()


def arranged(shape: Shape, sizes: Sizes, verb: str) -> Shape:
    """Return `sizes` for the elements of a tensor of `shape`; a -1 among them is worked out.

    Raises:
        Invalid: the elements are more or fewer.
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


def place(dim: int, dimensions: int) -> int:
    """Return `dim` counted from the left; a number counts as of one dimension.

    Raises:
        Invalid: there is no such dimension.
    """
    last = max(dimensions, 1) - 1
    if not -last - 1 <= dim <= last:
        raise Invalid(
            f"there is no dimension {dim}: the tensor has {counted(dimensions, 'dimension')}, "
            f"so that dim goes from {-last - 1} to {last}"
        )
    return dim % (last + 1)


def places(dims: int | Sizes | None, dimensions: int) -> tuple[int, ...]:
    """Return `dims` counted from the left; None and none are all.

    Raises:
        Invalid: there is no such dimension, or one is named twice.
    """
    if dims is None or dims == ():
        return tuple(range(dimensions))
    given = [place(dim, dimensions) for dim in ((dims,) if isinstance(dims, int) else dims)]
    if len(set(given)) < len(given):
        raise Invalid(f"a dimension is named twice in {shown(given)}")
    return tuple(given)


def reduced(shape: Shape, dims: int | Sizes | None, keepdim: bool = False) -> Shape:
    """Return what is left of `shape` when the dimensions `dims` are summed up.

    Raises:
        Invalid: there is no such dimension.
    """
    gone = places(dims, len(shape))
    if keepdim:
        return tuple(1 if i in gone else size for i, size in enumerate(shape))
    return tuple(size for i, size in enumerate(shape) if i not in gone)


def joined(shapes: Sequence[Shape], dim: int) -> Shape:
    """Return the shape of tensors one after the other along `dim`.

    Raises:
        Invalid: there are none, or they differ in another dimension.
    """
    if not shapes:
        raise Invalid("there is nothing to join; give at least one tensor")
    first = shapes[0]
    if not first:
        raise Invalid("numbers cannot be joined by cat; use stack")
    at = place(dim, len(first))
    for shape in shapes[1:]:
        if len(shape) != len(first) or any(
            a != b for i, (a, b) in enumerate(zip(first, shape, strict=True)) if i != at
        ):
            raise Invalid(
                f"{shown(first)} and {shown(shape)} cannot be joined along dimension {at}: "
                "the other sizes must be equal"
            )
    return (*first[:at], sum(shape[at] for shape in shapes), *first[at + 1 :])


def stacked(shapes: Sequence[Shape], dim: int) -> Shape:
    """Return the shape of tensors side by side along a new dimension `dim`.

    Raises:
        Invalid: there are none, or they differ.
    """
    if not shapes:
        raise Invalid("there is nothing to stack; give at least one tensor")
    first = shapes[0]
    for shape in shapes[1:]:
        if shape != first:
            raise Invalid(
                f"{shown(first)} and {shown(shape)} cannot be stacked: they must be equal"
            )
    at = place(dim, len(first) + 1)
    return (*first[:at], len(shapes), *first[at:])


def spaced(start: float, end: float, step: float) -> Shape:
    """Return the shape of the numbers from `start` to before `end`.

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
