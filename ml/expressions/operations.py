"""Tables of the operations of expressions, under PyTorch's names.

To add an operation, add a row: function, parameters and, if its result may have more elements than
its arguments, the shape of the result.
"""

import ast
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ml.expressions import shape_rules, shapes
from ml.expressions.arguments import (
    DIM,
    DIMS,
    DTYPE,
    INPUT,
    KEEPDIM,
    LEFT,
    OTHER,
    RIGHT,
    SIZE,
    Parameter,
    dtype,
    number,
    tensors,
    whole,
    whole_or_tensor,
)
from ml.expressions.shapes import Shape
from ml.expressions.values import Value, as_tensor, dtype_name

MULTIPLICATIONS_PER_WORK = 64
SLOW = 8
"""Cost of a power or a remainder, relative to other elementwise operations."""


class Operation(NamedTuple):
    """The function `run`, its parameters, and the shape of its result, from the same arguments.

    `shape` returns None if the result has no more elements than the arguments: its shape is then
    known only after the run. `weight` is the cost of an element, and `multiplications` the
    additional cost of a matrix product. A view costs nothing to take, only to differentiate. A
    random operation takes a `generator` as well.
    """

    run: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    shape: Callable[..., Shape | None] = shape_rules.no_larger
    weight: int = 1
    multiplications: Callable[..., int] = lambda *_: 0
    is_view: bool = False
    is_random: bool = False

    @property
    def takes_numbers(self) -> bool:
        """Whether it is one of Python's operators, which also accept plain numbers."""
        return self.parameters[0] is LEFT

    def reading(self, arguments: list[Any]) -> int:
        """Return the cost of reading and computing with `arguments`, forward or backward."""
        return self.weight * sum(map(_elements, arguments)) + (
            self.multiplications(*arguments) // MULTIPLICATIONS_PER_WORK
        )

    def writing(self, shape: Shape) -> int:
        """Return the cost of writing a result of `shape`, forward or backward."""
        return self.weight * shapes.volume(shape)


class Operator(NamedTuple):
    """An operator's symbol and its operation."""

    symbol: str
    operation: Operation


def _elements(argument: object) -> int:
    match argument:
        case Tensor():
            return argument.numel()
        case list():
            return sum(map(_elements, argument))
    return 0


def _elementwise(run: Callable[..., Any], *parameters: Parameter, weight: int = 1) -> Operation:
    return Operation(run, parameters or (INPUT,), shape_rules.broadcast, weight)


def _between(run: Callable[..., Any], weight: int = 1) -> Operation:
    return _elementwise(run, LEFT, RIGHT, weight=weight)


def _of_size(run: Callable[..., Any], is_random: bool = False) -> Operation:
    def made(size: Shape, dtype: torch.dtype | None, **generator: Any) -> Tensor:
        return run(size, dtype=dtype, **generator)  # type: ignore[no-any-return]

    return Operation(made, (SIZE, DTYPE), lambda size, _: tuple(size), is_random=is_random)


def _reducing(
    run: Callable[..., Any],
    dim: Parameter,
    shape: Callable[..., Shape | None] = shape_rules.no_larger,
) -> Operation:
    return Operation(run, (INPUT, dim, KEEPDIM), shape)


def _view(run: Callable[..., Any], *extra: Parameter) -> Operation:
    return Operation(run, (INPUT, *extra), is_view=True)


def _cast(dtype: torch.dtype) -> Operation:
    return _elementwise(lambda value: value.to(dtype))


_MATMUL = Operation(
    torch.matmul,
    (INPUT, OTHER),
    shape_rules.product,
    multiplications=lambda one, other: shapes.multiplications(
        shape_rules.size(one), shape_rules.size(other)
    ),
)
_ONE_DIM = DIM.or_none()
_EXTREME = Parameter("dim", whole_or_tensor).or_none()
_PERMUTED = Parameter("dims", SIZE.convert, many=True)
_START, _END = Parameter("start", number), Parameter("end", number)

BINARY: dict[type[ast.operator], Operator] = {
    ast.Add: Operator("+", _between(operator.add)),
    ast.Sub: Operator("-", _between(operator.sub)),
    ast.Mult: Operator("*", _between(operator.mul)),
    ast.Div: Operator("/", _between(operator.truediv)),
    ast.FloorDiv: Operator("//", _between(operator.floordiv, SLOW)),
    ast.Mod: Operator("%", _between(operator.mod, SLOW)),
    ast.Pow: Operator("**", _between(operator.pow, SLOW)),
    ast.MatMult: Operator("@", _MATMUL),
    ast.BitAnd: Operator("&", _elementwise(torch.bitwise_and, INPUT, OTHER)),
    ast.BitOr: Operator("|", _elementwise(torch.bitwise_or, INPUT, OTHER)),
    ast.BitXor: Operator("^", _elementwise(torch.bitwise_xor, INPUT, OTHER)),
}
UNARY: dict[type[ast.unaryop], Operator] = {
    ast.UAdd: Operator("+", _elementwise(operator.pos, LEFT)),
    ast.USub: Operator("-", _elementwise(operator.neg, LEFT)),
    ast.Invert: Operator("~", _elementwise(torch.bitwise_not)),
}
COMPARISONS: dict[type[ast.cmpop], Operator] = {
    ast.Lt: Operator("<", _between(operator.lt)),
    ast.LtE: Operator("<=", _between(operator.le)),
    ast.Gt: Operator(">", _between(operator.gt)),
    ast.GtE: Operator(">=", _between(operator.ge)),
    ast.Eq: Operator("==", _between(operator.eq)),
    ast.NotEq: Operator("!=", _between(operator.ne)),
}
CONSTANTS = {"e": math.e, "pi": math.pi}
ELEMENTWISE: dict[str, Operation] = {
    **{
        name: _elementwise(getattr(torch, name))
        for name in (
            *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh"),
            *("exp", "log", "log2", "log10", "sqrt", "sigmoid", "relu"),
            *("abs", "sign", "floor", "ceil", "round"),
        )
    },
    "minimum": _elementwise(torch.minimum, INPUT, OTHER),
    "maximum": _elementwise(torch.maximum, INPUT, OTHER),
}
"""Functions that formulas have as well."""
FUNCTIONS: dict[str, Operation] = {
    **ELEMENTWISE,
    **{
        name: _elementwise(BINARY[kind].operation.run, INPUT, RIGHT, weight=weight)
        for name, kind, weight in (
            ("add", ast.Add, 1),
            ("sub", ast.Sub, 1),
            ("mul", ast.Mult, 1),
            ("div", ast.Div, 1),
            ("pow", ast.Pow, SLOW),
        )
    },
    "tensor": Operation(shape_rules.copied, (INPUT, DTYPE)),
    "zeros": _of_size(torch.zeros),
    "ones": _of_size(torch.ones),
    "rand": _of_size(torch.rand, is_random=True),
    "randn": _of_size(torch.randn, is_random=True),
    "randint": Operation(
        torch.randint,
        (Parameter("low", whole), Parameter("high", whole), Parameter("size", SIZE.convert)),
        lambda low, high, size: tuple(size),
        is_random=True,
    ),
    "zeros_like": _elementwise(torch.zeros_like),
    "ones_like": _elementwise(torch.ones_like),
    "full": Operation(
        lambda size, value, dtype: torch.full(size, value, dtype=dtype),
        (Parameter("size", SIZE.convert), Parameter("fill_value", number), DTYPE),
        lambda size, *_: tuple(size),
    ),
    "eye": Operation(
        lambda n, m: torch.eye(n, n if m is None else m),
        (Parameter("n", whole), Parameter("m", whole).or_none()),
        lambda n, m: (n, n if m is None else m),
    ),
    "arange": Operation(
        lambda start, end, step, dtype: torch.arange(
            *shape_rules.bounds(start, end, step), dtype=dtype
        ),
        (_START, _END.or_none(), Parameter("step", number, default=1), DTYPE),
        lambda start, end, step, _: shapes.spaced(*shape_rules.bounds(start, end, step)),
    ),
    "linspace": Operation(
        lambda start, end, steps, dtype: torch.linspace(start, end, steps, dtype=dtype),
        (_START, _END, Parameter("steps", whole), DTYPE),
        lambda start, end, steps, _: (steps,),
    ),
    "dot": Operation(torch.dot, (INPUT, OTHER)),
    "matmul": _MATMUL,
    "sum": _reducing(torch.sum, DIMS),
    "mean": _reducing(torch.mean, DIMS),
    "std": _reducing(
        lambda value, dim, keepdim: torch.std(value, dim, keepdim=keepdim),
        DIMS,
        shape_rules.deviation,
    ),
    "var": _reducing(
        lambda value, dim, keepdim: torch.var(value, dim, keepdim=keepdim),
        DIMS,
        shape_rules.deviation,
    ),
    "max": _reducing(shape_rules.extreme_by(torch.max), _EXTREME, shape_rules.extreme),
    "min": _reducing(shape_rules.extreme_by(torch.min), _EXTREME, shape_rules.extreme),
    "argmax": _reducing(torch.argmax, _ONE_DIM),
    "argmin": _reducing(torch.argmin, _ONE_DIM),
    "prod": Operation(
        lambda value, dim: torch.prod(value) if dim is None else torch.prod(value, dim),
        (INPUT, _ONE_DIM),
    ),
    "all": _reducing(torch.all, DIMS),
    "any": _reducing(torch.any, DIMS),
    "norm": Operation(torch.linalg.vector_norm, (INPUT,)),
    "cumsum": Operation(torch.cumsum, (INPUT, DIM)),
    "softmax": Operation(torch.softmax, (INPUT, DIM)),
    "log_softmax": Operation(torch.log_softmax, (INPUT, DIM)),
    "where": Operation(
        torch.where, (Parameter("condition", as_tensor), LEFT, RIGHT), shape_rules.chosen
    ),
    "clamp": Operation(
        torch.clamp,
        (INPUT, Parameter("min", number).or_none(), Parameter("max", number).or_none()),
    ),
    "cat": Operation(
        torch.cat,
        (Parameter("tensors", tensors), DIM._replace(default=0)),
        shape_rules.joined,
    ),
    "stack": Operation(
        torch.stack,
        (Parameter("tensors", tensors), DIM._replace(default=0)),
        shape_rules.joined,
    ),
    "flip": Operation(torch.flip, (INPUT, _PERMUTED)),
    "clone": _elementwise(torch.clone),
    "contiguous": _elementwise(Tensor.contiguous),
    "detach": _view(Tensor.detach),
    "view": Operation(
        Tensor.view,
        (INPUT, SIZE),
        lambda value, size: shapes.arranged(shape_rules.size(value), size, "viewed"),
        is_view=True,
    ),
    "reshape": Operation(
        torch.reshape,
        (INPUT, SIZE),
        lambda value, size: shapes.arranged(shape_rules.size(value), size, "reshaped"),
    ),
    "flatten": Operation(torch.flatten, (INPUT,)),
    "t": _view(torch.t),
    "transpose": _view(torch.transpose, Parameter("dim0", whole), Parameter("dim1", whole)),
    "permute": _view(torch.permute, _PERMUTED),
    "squeeze": _view(
        lambda value, dim: value.squeeze() if dim is None else value.squeeze(dim), _ONE_DIM
    ),
    "unsqueeze": _view(torch.unsqueeze, DIM),
    "to": Operation(lambda value, dtype: value.to(dtype), (INPUT, Parameter("dtype", dtype))),
    "float": _cast(torch.float32),
    "double": _cast(torch.float64),
    "long": _cast(torch.int64),
    "int": _cast(torch.int32),
    "bool": _cast(torch.bool),
    "item": _view(Tensor.item),
    "numel": _view(Tensor.numel),
    "dim": _view(Tensor.dim),
}
METHODS = frozenset(
    name for name, operation in FUNCTIONS.items() if operation.parameters[0] is INPUT
)
PROPERTIES: dict[str, Callable[[Tensor], Value]] = {
    "shape": lambda value: list(value.shape),
    "ndim": Tensor.dim,
    "dtype": lambda value: value.dtype,
}
DTYPES = {
    dtype_name(dtype): dtype
    for dtype in (torch.bool, torch.int32, torch.int64, torch.float32, torch.float64)
}
