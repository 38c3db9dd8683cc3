"""A small safe language of tensor expressions: `3*x + 2`, `sin(2*pi*x) * exp(-x)`.

A source is parsed by Python's own parser and never run: only the nodes named in the tables below
mean anything, and they mean torch operations, so a gradient flows through every expression.
"""

import ast
import keyword
import math
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ml.errors import Invalid

MAX_LENGTH = 1000
MAX_DEPTH = 50
MAX_NODES = 500
MAX_NAME = 64

BINARY: dict[type[ast.operator], Callable[[Tensor, Tensor], Tensor]] = {
    ast.Add: torch.add,
    ast.Sub: torch.sub,
    ast.Mult: torch.mul,
    ast.Div: torch.true_divide,
    ast.FloorDiv: torch.floor_divide,
    ast.Mod: torch.remainder,
    ast.Pow: torch.pow,
}
UNARY: dict[type[ast.unaryop], Callable[[Tensor], Tensor]] = {
    ast.UAdd: torch.positive,
    ast.USub: torch.neg,
}
FUNCTIONS: dict[str, tuple[int, Callable[..., Tensor]]] = {
    name: (1, getattr(torch, name))
    for name in (
        *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh"),
        *("exp", "log", "log2", "log10", "sqrt", "sigmoid", "relu"),
        *("abs", "sign", "floor", "ceil", "round"),
    )
} | {
    "minimum": (2, torch.minimum),
    "maximum": (2, torch.maximum),
    "min": (2, torch.minimum),
    "max": (2, torch.maximum),
}
CONSTANTS = {"e": math.e, "pi": math.pi}


@dataclass(frozen=True)
class Expression:
    """A parsed expression and the variables it uses."""

    source: str
    variables: frozenset[str]
    _tree: ast.expr

    @classmethod
    def parse(cls, source: str, variables: Collection[str]) -> "Expression":
        """Parse `source`, in which `variables` may be named.

        Raises:
            Invalid: it is not an expression of this language, is too long or too deep, or has a
                part without variables whose value is not finite.
        """
        tree = _syntax(source)
        if sum(isinstance(node, ast.expr) for node in ast.walk(tree)) > MAX_NODES:
            raise Invalid(f"the formula has more than {MAX_NODES} parts")
        return cls(source, frozenset(_check(tree, variables, depth=1)), tree)

    def evaluate(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return the value, elementwise over broadcast `values` and in their dtype.

        Raises:
            Invalid: the shapes of the values do not fit together.
        """
        try:
            return _evaluate(self._tree, values)
        except RuntimeError as error:
            raise Invalid(f"cannot compute {self.source!r}: {error}") from error


def check_name(name: str) -> None:
    """Do nothing for a name that a variable can have.

    Raises:
        Invalid: it is no identifier, a keyword, a function's name, or too long.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise Invalid(f"{name[:MAX_NAME]!r} cannot be used as a name; use letters, digits and _")
    if len(name) > MAX_NAME:
        raise Invalid(f"the name {name[:MAX_NAME]!r}... is over {MAX_NAME} characters long")
    if name in FUNCTIONS:
        raise Invalid(f"{name!r} is a function; name the variable otherwise")


def _syntax(source: str) -> ast.expr:
    if not source.strip():
        raise Invalid("the formula is empty")
    if len(source) > MAX_LENGTH:
        raise Invalid(f"the formula has {len(source)} characters; at most {MAX_LENGTH} are allowed")
    try:
        with warnings.catch_warnings():
            # Python remarks on some wrong formulas, such as "1(2)", before we refuse them.
            warnings.simplefilter("ignore")
            return ast.parse(source.strip(), mode="eval").body
    except SyntaxError as error:
        where = f" at column {error.offset}" if error.offset else ""
        if error.msg.startswith("too many nested"):
            raise Invalid(f"the formula nests deeper than {MAX_DEPTH}") from None
        raise Invalid(f"the formula has a syntax error{where}: {error.msg}") from None
    except (RecursionError, MemoryError):
        raise Invalid(f"the formula nests deeper than {MAX_DEPTH}") from None
    except ValueError as error:
        raise Invalid(f"the formula cannot be read: {error}") from None


def _check(node: ast.expr, variables: Collection[str], depth: int) -> set[str]:
    """Return the variables at and below `node`, all of which is found to be of the language."""
    if depth > MAX_DEPTH:
        raise Invalid(f"the formula nests deeper than {MAX_DEPTH}")
    if isinstance(node, ast.Name) and node.id in variables:
        return {node.id}
    used: set[str] = set()
    for operand in _operands(node, variables):
        used |= _check(operand, variables, depth + 1)
    if not used and not torch.isfinite(_evaluate(node, {})):
        raise Invalid(f"{ast.unparse(node)} is not a finite number")
    return used


def _operands(node: ast.expr, variables: Collection[str]) -> list[ast.expr]:
    """Return what `node` is computed from, or refuse it."""
    match node:
        case ast.BinOp(left, op, right) if type(op) in BINARY:
            return [left, right]
        case ast.UnaryOp(op, operand) if type(op) in UNARY:
            return [operand]
        case ast.Call(ast.Name(name), arguments, []):
            return _arguments(name, arguments, node.col_offset)
        case ast.Constant(int() | float() as number) if not isinstance(number, bool):
            _number(number)
            return []
        case ast.Name(name) if name in CONSTANTS:
            return []
        case ast.Name(name):
            known = ", ".join(sorted({*variables, *CONSTANTS}))
            raise Invalid(f"unknown name {name!r}; known: {known}")
    raise Invalid(
        f"{ast.unparse(node)[:60]} at column {node.col_offset + 1} is not allowed; a formula has "
        "numbers, names, + - * / // % **, parentheses and functions"
    )


def _arguments(name: str, arguments: list[ast.expr], column: int) -> list[ast.expr]:
    if name not in FUNCTIONS:
        known = ", ".join(sorted(FUNCTIONS))
        raise Invalid(f"unknown function {name!r} at column {column + 1}; known: {known}")
    count, _ = FUNCTIONS[name]
    if len(arguments) != count:
        raise Invalid(f"{name} takes {count} argument{'s'[: count - 1]}, not {len(arguments)}")
    return arguments


def _number(number: float) -> Tensor:
    # Without dimensions it promotes as a Python number would, and 9**9**9 is inf, not a wrapped
    # integer.
    try:
        return torch.tensor(float(number), dtype=torch.float64)
    except OverflowError:
        raise Invalid("a number of the formula is too large") from None


def _evaluate(node: ast.expr, values: Mapping[str, Tensor]) -> Tensor:
    match node:
        case ast.BinOp(left, op, right):
            return BINARY[type(op)](_evaluate(left, values), _evaluate(right, values))
        case ast.UnaryOp(op, operand):
            return UNARY[type(op)](_evaluate(operand, values))
        case ast.Call(ast.Name(name), arguments):
            return FUNCTIONS[name][1](*(_evaluate(argument, values) for argument in arguments))
        case ast.Name(name):
            return values[name] if name in values else _number(CONSTANTS[name])
        case ast.Constant(int() | float() as number):
            return _number(number)
    raise AssertionError(f"{ast.dump(node)} was not refused when it was parsed")
