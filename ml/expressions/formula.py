"""Formulas, `3*x + 2` or `sin(2*pi*x) * exp(-x)`: the part of the language of tensors that computes
elementwise, with every number a float."""

import ast
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from ml.errors import Invalid
from ml.expressions import operations, syntax
from ml.expressions.interpreter import Interpreter
from ml.expressions.operations import Operator
from ml.expressions.shapes import counted
from ml.expressions.syntax import Language, SourceText, as_float
from ml.expressions.values import Value

FORMULA = Language(noun="formula", example="3*x + 2")

BINARY: dict[type[ast.operator], Operator] = {
    kind: operations.BINARY[kind]
    for kind in (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
}
UNARY: dict[type[ast.unaryop], Operator] = {
    kind: operations.UNARY[kind] for kind in (ast.UAdd, ast.USub)
}
FUNCTIONS = {
    **operations.ELEMENTWISE,
    "min": operations.ELEMENTWISE["minimum"],
    "max": operations.ELEMENTWISE["maximum"],
}


@dataclass(frozen=True)
class Expression:
    """A parsed expression and the variables it uses."""

    source: str
    variables: frozenset[str]
    _tree: ast.expr = field(repr=False, compare=False)

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
        text = SourceText(source, FORMULA)
        tree = text.expression()
        # What is wrong with a formula is wrong whatever the values.
        _Interpreter(text, dict.fromkeys(variables, _scalar(math.nan))).value(tree)
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        return cls(source, frozenset(names.intersection(variables)), tree)

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
            result = _Interpreter(SourceText(self.source, FORMULA), used).value(self._tree)
        except RuntimeError as error:
            shapes = ", ".join(f"{name} of shape {tuple(v.shape)}" for name, v in used.items())
            reason = str(error).partition("\n")[0]
            raise Invalid(f"cannot compute {self.source!r} with {shapes}: {reason}") from error
        return _in_dtype_of(used.values(), _operand(result))


def check_name(name: str) -> None:
    """Do nothing for a name that a variable can have.

    Raises:
        Invalid: it is no identifier, a keyword, a function's name, or too long.
    """
    syntax.check_name(name, FUNCTIONS)


class _Interpreter(Interpreter):
    """Has a float for each part without variables, and a tensor for any other."""

    binary, unary, functions = BINARY, UNARY, FUNCTIONS

    def _number(self, node: ast.expr, number: float) -> float:
        # A bool is an int to Python, but no number to the author of a formula.
        if isinstance(number, bool):
            raise self._refused(node)
        value = as_float(number)
        if not math.isfinite(value):
            raise self.source.refusal(
                node, f"{self.source.quoted(node)} is {value}, not a finite number"
            )
        return value

    def _applied(self, node: ast.expr, operator: Operator, operands: list[Value]) -> Value:
        result: Tensor = operator.operation.run(*map(_operand, operands))
        has_variables = any(isinstance(operand, Tensor) for operand in operands)
        return result if has_variables else self._number(node, result.item())

    def _function(self, node: ast.expr, name: str, given: int) -> Operator:
        function = super()._function(node, name, given)
        arity = len(function.operation.parameters)
        if given != arity:
            raise self.source.refusal(
                node, f"{name} takes {counted(arity, 'argument')}, not {given}"
            )
        return function

    def _hint(self, node: ast.expr) -> str:
        symbols = " ".join(operator.symbol for operator in BINARY.values())
        return f"a formula has numbers, names, parentheses, functions and {symbols}"


def _operand(value: Value) -> Tensor:
    return value if isinstance(value, Tensor) else _scalar(value)


def _scalar(number: Value) -> Tensor:
    """Return a number that does not widen the values it meets nor, a float, wrap."""
    return torch.tensor(number, dtype=torch.float64)


def _in_dtype_of(values: Iterable[Tensor], result: Tensor) -> Tensor:
    """Return `result` no wider than `values`: one without dimensions was widened by numbers."""
    dtypes = [value.dtype for value in values]
    if result.dim() or not dtypes:
        return result
    dtype = reduce(torch.promote_types, dtypes)
    return result.to(dtype) if dtype.is_floating_point else result
