"""Values of expressions, and conversion of tensors from and to JSON."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import orjson
import torch
from torch import Tensor

from ml.errors import Invalid, Loc
from ml.expressions.scalars import Number, checked
from ml.expressions.shapes import MAX_DIMENSIONS, Shape, shown, volume
from ml.inputs.rows import JSON_NAMES

MAX_WRITTEN = 10_000
"""Maximum number of elements of a tensor in JSON, in requests and responses."""

Value: TypeAlias = "Tensor | Number | list[Value] | torch.dtype | None"
Json: TypeAlias = Any
"""A number, a boolean, one of the texts of `NOT_FINITE`, or lists of them."""

NOT_FINITE = ("NaN", "Infinity", "-Infinity")


def as_tensor(value: Value) -> Tensor:
    """Return `value` as a tensor, of the dtype that `torch.tensor` gives it.

    Raises:
        Invalid: it is not a tensor, a number or nested lists of numbers of equal lengths.
    """
    match value:
        case Tensor():
            return value
        case int() | float():
            return torch.tensor(value, dtype=_dtype({type(value)}))
        case list():
            kinds: set[type] = set()
            for _, leaf in _leaves(value, _shape(value)):
                if isinstance(leaf, Tensor):
                    raise Invalid("a list holds numbers here; use stack([...]) for tensors")
                if not isinstance(leaf, int | float):
                    raise Invalid("a list holds numbers here")
                kinds.add(type(leaf))
            return torch.tensor(value, dtype=_dtype(kinds))
        case torch.dtype():
            raise Invalid(f"{dtype_name(value)} is a dtype, not a tensor")
    raise Invalid("None is not a tensor")


def from_json(value: Json, differentiable: bool) -> Tensor:
    """Return a variable: whole numbers as int64, others as float32, booleans as bool.

    If `differentiable`, whole numbers become float32 too, and the variable requires a gradient
    unless it is boolean.

    Raises:
        Invalid: the value is neither a number, a boolean nor nested lists of them of equal
            lengths; or a number is not finite or does not fit into 64 bits; or there are too many.
            `loc` is within `value`.
    """
    shape = _shape(value)
    if volume(shape) > MAX_WRITTEN:
        raise Invalid(
            f"has the shape {shown(shape)}, {volume(shape):,} numbers; at most {MAX_WRITTEN:,} are "
            "allowed"
        )
    kinds: set[type] = set()
    for loc, leaf in _leaves(value, shape):
        kinds.add(type(leaf))
        if not isinstance(leaf, int | float):
            name = JSON_NAMES.get(type(leaf), type(leaf).__name__)
            raise Invalid(f"must be a number, a boolean or lists of them, not {name}", loc)
        try:
            checked(leaf)
        except Invalid as error:
            raise Invalid(f"cannot be used: {error.msg}", loc) from None
    tensor = torch.tensor(value, dtype=_dtype(kinds))
    if not differentiable or tensor.dtype == torch.bool:
        return tensor
    return tensor.to(torch.get_default_dtype()).requires_grad_()


def to_json(tensor: Tensor) -> Json:
    """Return a tensor as nested lists, floats in their shortest exact representation.

    Raises:
        Invalid: the tensor has more than `MAX_WRITTEN` elements.
    """
    if volume(tensor.shape) > MAX_WRITTEN:
        raise Invalid(
            f"the result {shown(tensor.shape)} has {volume(tensor.shape):,} elements, but at most "
            f"{MAX_WRITTEN:,} are shown; take a part of it, as [:10], or sum it up"
        )
    array = tensor.detach().numpy()
    flat = orjson.loads(
        orjson.dumps(np.ascontiguousarray(array).ravel(), option=orjson.OPT_SERIALIZE_NUMPY)
    )
    for i in np.flatnonzero(~np.isfinite(array.ravel())).tolist():
        flat[i] = _not_finite(array.ravel()[i])
    return _nested(flat, tuple(tensor.shape))


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype without the module: `float32`."""
    return str(dtype).removeprefix("torch.")


def _dtype(kinds: set[type]) -> torch.dtype:
    """Return the dtype that `torch.tensor` gives to numbers of these Python types."""
    if kinds == {bool}:
        return torch.bool
    return torch.int64 if kinds and float not in kinds else torch.get_default_dtype()


def _not_finite(number: float) -> str:
    nan, infinite, negative = NOT_FINITE
    if math.isnan(number):
        return nan
    return infinite if number > 0 else negative


def _nested(flat: list[Json], shape: Shape) -> Json:
    if not shape:
        return flat[0]
    if len(shape) == 1:
        return flat
    size = math.prod(shape[1:])
    return [_nested(flat[i * size : (i + 1) * size], shape[1:]) for i in range(shape[0])]


def _shape(value: object) -> Shape:
    """Return the shape of nested lists, going by the first list of each level."""
    shape: list[int] = []
    while isinstance(value, list):
        if len(shape) == MAX_DIMENSIONS:
            raise Invalid(f"has lists more than {MAX_DIMENSIONS} deep")
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _leaves(value: object, shape: Sequence[int], loc: Loc = ()) -> Iterator[tuple[Loc, object]]:
    """Yield each leaf of nested lists with its location.

    Raises:
        Invalid: lists of one level differ in length, or a list stands beside a number.
    """
    if not shape:
        if isinstance(value, list):
            raise Invalid("has a list where others have a number; all must be equally deep", loc)
        yield loc, value
        return
    if not isinstance(value, list):
        raise Invalid("has a number where others have a list; all must be equally deep", loc)
    if len(value) != shape[0]:
        raise Invalid(
            f"has lists of different lengths, {shape[0]} and {len(value)}; all must be equal", loc
        )
    for i, item in enumerate(value):
        yield from _leaves(item, shape[1:], (*loc, i))
