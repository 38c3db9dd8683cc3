"""A small safe language of tensor expressions: `3*x + 2`, `sin(2*pi*x) * exp(-x)`.

A source is parsed by Python's own parser and never run: only the nodes named in the tables below
mean anything, and they mean torch operations, so a gradient flows through every expression.
"""

import ast
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from ml.errors import Invalid
from ml.expressions import syntax
from ml.expressions.syntax import Language, Source, as_float, listed

FORMULA = Language(noun="formula", example="3*x + 2")

Operation = Callable[..., Tensor]


class Operator(NamedTuple):
    """How an operator is written, and what it does."""

    symbol: str
    operation: Operation


class Function(NamedTuple):
    """What a function does, to how many arguments."""

    operation: Operation
    arity: int = 1


BINARY: dict[type[ast.operator], Operator] = {
    ast.Add: Operator("+", torch.add),
    ast.Sub: Operator("-", torch.sub),
    ast.Mult: Operator("*", torch.mul),
    ast.Div: Operator("/", torch.true_divide),
    ast.FloorDiv: Operator("//", torch.floor_divide),
    ast.Mod: Operator("%", torch.remainder),
    ast.Pow: Operator("**", torch.pow),
}
UNARY: dict[type[ast.unaryop], Operator] = {
    ast.UAdd: Operator("+", torch.positive),
    ast.USub: Operator("-", torch.neg),
}
FUNCTIONS: dict[str, Function] = {
    "sin": Function(torch.sin),
    "cos": Function(torch.cos),
    "tan": Function(torch.tan),
    "asin": Function(torch.asin),
    "acos": Function(torch.acos),
    "atan": Function(torch.atan),
    "sinh": Function(torch.sinh),
    "cosh": Function(torch.cosh),
    "tanh": Function(torch.tanh),
    "exp": Function(torch.exp),
    "log": Function(torch.log),
    "log2": Function(torch.log2),
    "log10": Function(torch.log10),
    "sqrt": Function(torch.sqrt),
    "abs": Function(torch.abs),
    "sign": Function(torch.sign),
    "floor": Function(torch.floor),
    "ceil": Function(torch.ceil),
    "round": Function(torch.round),
    "sigmoid": Function(torch.sigmoid),
    "relu": Function(torch.relu),
    "minimum": Function(torch.minimum, arity=2),
    "maximum": Function(torch.maximum, arity=2),
    "min": Function(torch.minimum, arity=2),
    "max": Function(torch.maximum, arity=2),
}
CONSTANTS = {"e": math.e, "pi": math.pi}


@dataclass(frozen=True)
class Expression:
    """A parsed expression and the variables it uses."""

    source: str
    variables: frozenset[str]
    _term: "_Term" = field(repr=False, compare=False)

    @classmethod
    def parse(cls, source: str, variables: Collection[str]) -> "Expression":
        """Parse `source`, in which `variables` may be named; one may shadow a constant.

        Raises:
            Invalid: a variable's name is unusable; or `source` is not an expression of this
                language, is too long or too deep, or has a part without variables whose value is
                not a finite number.
        """
        for name in variables:
            check_name(name)
        text = Source(source, FORMULA)
        tree = text.expression()
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        term = _Reader(text, frozenset(variables)).term(tree, depth=1)
        return cls(source, frozenset(names.intersection(variables)), term)

    def evaluate(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return the value, elementwise over broadcast `values` and in their floating dtype.

        Without variables it is a float64 of no dimensions. `values` may have more than is used.

        Raises:
            Invalid: a variable has no value, or the values do not fit together.
        """
        missing = sorted(self.variables.difference(values))
        if missing:
            raise Invalid(f"the formula {self.source!r} needs a value for {', '.join(missing)}")
        used = {name: values[name] for name in sorted(self.variables)}
        try:
            result = self._term.evaluate(used)
        except RuntimeError as error:
            shapes = ", ".join(f"{name} of shape {tuple(v.shape)}" for name, v in used.items())
            reason = str(error).partition("\n")[0]
            raise Invalid(f"cannot compute {self.source!r} with {shapes}: {reason}") from error
        return _in_dtype_of(used.values(), result)


def check_name(name: str) -> None:
    """Do nothing for a name that a variable can have.

    Raises:
        Invalid: it is no identifier, a keyword, a function's name, or too long.
    """
    syntax.check_name(name, FUNCTIONS)


@dataclass(frozen=True)
class _Number:
    value: float

    def evaluate(self, values: Mapping[str, Tensor]) -> Tensor:
        # Without dimensions it does not widen the values it meets; a float, it does not wrap.
        return torch.tensor(self.value, dtype=torch.float64)


@dataclass(frozen=True)
class _Variable:
    name: str

    def evaluate(self, values: Mapping[str, Tensor]) -> Tensor:
        return values[self.name]


@dataclass(frozen=True)
class _Applied:
    operation: Operation
    operands: tuple["_Term", ...]

    def evaluate(self, values: Mapping[str, Tensor]) -> Tensor:
        return self.operation(*[operand.evaluate(values) for operand in self.operands])


_Term = _Number | _Variable | _Applied


@dataclass(frozen=True)
class _Reader:
    """From Python's syntax tree to terms; what is not of the language is refused."""

    source: Source
    variables: frozenset[str]

    def term(self, node: ast.expr, depth: int) -> _Term:
        if depth > FORMULA.max_depth:
            raise self.source.too_deep()
        match node:
            case ast.BinOp(left, op, right) if type(op) in BINARY:
                # Python nests a long sum to the left; to its author it is not nested at all.
                terms = [self.term(left, depth), self.term(right, depth + 1)]
                return self._applied(node, BINARY[type(op)].operation, terms)
            case ast.UnaryOp(op, operand) if type(op) in UNARY:
                terms = [self.term(operand, depth + 1)]
                return self._applied(node, UNARY[type(op)].operation, terms)
            case ast.Call(ast.Name(name), arguments, []):
                function = self._function(node, name, len(arguments))
                terms = [self.term(argument, depth + 1) for argument in arguments]
                return self._applied(node, function.operation, terms)
            case ast.Name(name):
                return self._named(node, name)
            # A bool is an int to Python, but no number to the author of a formula.
            case ast.Constant(int() | float() as number) if not isinstance(number, bool):
                return self._number(node, as_float(number))
        raise self.source.refusal(
            node,
            f"{self.source.quoted(node)} is not allowed; a formula has numbers, names, "
            f"parentheses, functions and {' '.join(symbol for symbol, _ in BINARY.values())}",
        )

    def _applied(self, node: ast.expr, operation: Operation, terms: list[_Term]) -> _Term:
        applied = _Applied(operation, tuple(terms))
        if all(isinstance(term, _Number) for term in terms):
            return self._number(node, applied.evaluate({}).item())
        return applied

    def _function(self, node: ast.expr, name: str, given: int) -> Function:
        if name not in FUNCTIONS:
            raise self.source.refusal(
                node, f"unknown function {name!r}; known: {listed(FUNCTIONS)}"
            )
        arity = FUNCTIONS[name].arity
        if given != arity:
            arguments = "argument" if arity == 1 else "arguments"
            raise self.source.refusal(node, f"{name} takes {arity} {arguments}, not {given}")
        return FUNCTIONS[name]

    def _named(self, node: ast.expr, name: str) -> _Term:
        if name in self.variables:
            return _Variable(name)
        if name in CONSTANTS:
            return _Number(CONSTANTS[name])
        if name in FUNCTIONS:
            raise self.source.refusal(node, f"{name!r} is a function; write {name}(...)")
        known = listed({*self.variables, *CONSTANTS})
        raise self.source.refusal(node, f"unknown name {name!r}; known: {known}")

    def _number(self, node: ast.expr, value: float) -> _Number:
        if not math.isfinite(value):
            raise self.source.refusal(
                node, f"{self.source.quoted(node)} is {value}, not a finite number"
            )
        return _Number(value)


def _in_dtype_of(values: Iterable[Tensor], result: Tensor) -> Tensor:
    """Return `result` no wider than `values`: one without dimensions was widened by numbers."""
    dtypes = [value.dtype for value in values]
    if result.dim() or not dtypes:
        return result
    dtype = reduce(torch.promote_types, dtypes)
    return result.to(dtype) if dtype.is_floating_point else result
