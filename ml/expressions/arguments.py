"""Parameters of operations, and conversion of arguments to them."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ml.errors import Invalid
from ml.expressions.scalars import Number, checked
from ml.expressions.shapes import counted
from ml.expressions.values import Value, as_tensor

_REQUIRED = object()


class Parameter(NamedTuple):
    """A parameter: its name in PyTorch, and the conversion of its argument.

    A parameter with `many` takes all remaining positional arguments: `zeros(2, 3)`.
    """

    name: str
    convert: Callable[[Value], object]
    default: object = _REQUIRED
    many: bool = False

    def or_none(self) -> "Parameter":
        """Return the same parameter, optional, with the default None."""
        convert = self.convert
        return self._replace(
            convert=lambda value: None if value is None else convert(value), default=None
        )


def bind(
    name: str,
    parameters: Sequence[Parameter],
    positional: Sequence[Value],
    keywords: Mapping[str, Value],
) -> list[object]:
    """Return one argument for each parameter of the operation `name`.

    Raises:
        Invalid: there are too many or too few arguments, or one is of the wrong kind.
    """
    given = dict(keywords)
    usage = f"{name}({', '.join(parameter.name for parameter in parameters)})"
    rest = list(positional)
    for parameter in parameters:
        if not rest:
            break
        if parameter.name in given:
            raise Invalid(f"{name} is given {parameter.name} twice")
        if parameter.many:
            given[parameter.name] = rest[0] if len(rest) == 1 else rest
            rest = []
        else:
            given[parameter.name] = rest.pop(0)
    if rest:
        wanted = counted(len(parameters), "argument")
        raise Invalid(f"{name} takes {wanted}, not {len(positional)}: {usage}")
    for unknown in sorted(given.keys() - {parameter.name for parameter in parameters}):
        raise Invalid(f"{name} has no argument {unknown!r}: {usage}")
    return [_argument(name, usage, parameter, given) for parameter in parameters]


def _argument(name: str, usage: str, parameter: Parameter, given: Mapping[str, Value]) -> object:
    if parameter.name not in given:
        if parameter.default is _REQUIRED:
            raise Invalid(f"{name} lacks the argument {parameter.name!r}: {usage}")
        return parameter.default
    try:
        return parameter.convert(given[parameter.name])
    except Invalid as error:
        raise Invalid(f"the argument {parameter.name!r} of {name}: {error.msg}") from None


def operand(value: Value) -> Tensor | Number:
    """Return a tensor, or a plain number, which does not change the dtype of a tensor."""
    return value if isinstance(value, int | float) else as_tensor(value)


def number(value: Value) -> Number:
    """Return a number; a tensor without dimensions is converted."""
    if isinstance(value, Tensor) and not value.dim():
        return checked(value.item())
    if not isinstance(value, int | float):
        raise Invalid("must be a number")
    return value


def whole(value: Value) -> int:
    """Return a whole number; a tensor without dimensions is converted."""
    result = number(value) if isinstance(value, Tensor | int) else value
    if not isinstance(result, int) or isinstance(result, bool):
        raise Invalid("must be a whole number")
    return result


def wholes(value: Value) -> tuple[int, ...]:
    """Return a tuple of whole numbers, from one or a list."""
    return tuple(whole(item) for item in (value if isinstance(value, list) else [value]))


def dimensions(value: Value) -> int | tuple[int, ...] | None:
    """Return one dimension or several; None, for all, if the list is empty."""
    return (wholes(value) or None) if isinstance(value, list) else whole(value)


def whole_or_tensor(value: Value) -> int | Tensor:
    """Return a plain whole number unchanged, anything else as a tensor."""
    return value if type(value) is int else as_tensor(value)


def flag(value: Value) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise Invalid("must be True or False")
    return value


def dtype(value: Value) -> torch.dtype:
    """Return a dtype."""
    if not isinstance(value, torch.dtype):
        raise Invalid("must be a dtype, such as float32")
    return value


def tensors(value: Value) -> list[Tensor]:
    """Return the tensors of a list."""
    if not isinstance(value, list):
        raise Invalid("must be a list of tensors: [a, b]")
    return [as_tensor(item) for item in value]


INPUT = Parameter("input", as_tensor)
OTHER = Parameter("other", as_tensor)
LEFT, RIGHT = Parameter("input", operand), Parameter("other", operand)
SIZE = Parameter("size", wholes, many=True)
DIM = Parameter("dim", whole)
DIMS = Parameter("dim", dimensions).or_none()
KEEPDIM = Parameter("keepdim", flag, default=False)
DTYPE = Parameter("dtype", dtype).or_none()
