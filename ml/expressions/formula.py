"""Formulas such as `3*x + 2` or `sin(2*pi*x) * exp(-x)`: the elementwise subset of the expression
language, in which every number is a float."""

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
        # A dry run finds all faults of the formula: they do not depend on the values.
        _Interpreter(text, dict.fromkeys(variables, _scalar(math.nan))).value(tree)
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        return cls(source, frozenset(names.intersection(variables)), tree)

    def evaluate(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return the value, elementwise over broadcast `values` and in their floating dtype.

        Without variables, the result is a float64 scalar. Unused `values` are ignored.

        Raises:
            Invalid: a variable has no value, or the shapes cannot be broadcast.
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
    """Check that a variable can have this name.

    Raises:
        Invalid: it is a keyword or a function's name, no identifier, or too long.
    """
    syntax.check_name(name, FUNCTIONS)


class _Interpreter(Interpreter):
    """Computes parts without variables as floats, and others as tensors."""

    binary, unary, functions = BINARY, UNARY, FUNCTIONS

    def _number(self, node: ast.expr, number: float) -> float:
        # In Python a bool is an int, but a formula has no booleans.
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
    """Return a number as a scalar, whose dtype does not widen that of other tensors."""
    return torch.tensor(number, dtype=torch.float64)


def _in_dtype_of(values: Iterable[Tensor], result: Tensor) -> Tensor:
    """Return `result` in the dtype of `values`: numbers widen a result without dimensions."""
    dtypes = [value.dtype for value in values]
    if result.dim() or not dtypes:
        return result
    dtype = reduce(torch.promote_types, dtypes)
    return result.to(dtype) if dtype.is_floating_point else result
