"""Formulas such as `3*x + 2` or `sin(2*pi*x) * exp(-x)`: the elementwise subset of the expression
language, in which every number is a float. A comparison, such as `x**2 + y**2 < 1`, is a condition,
true or false; conditions are combined by `& | ^ ~`, and choose between numbers in `where`."""

import ast
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from ml.errors import Invalid
from ml.expressions import operations, syntax
from ml.expressions.interpreter import Interpreter
from ml.expressions.operations import COMPARISONS, Operator
from ml.expressions.shapes import counted
from ml.expressions.syntax import Language, SourceText, as_float
from ml.expressions.values import Value

FORMULA = Language(noun="formula", example="3*x + 2")

ARITHMETIC: dict[type[ast.operator], Operator] = {
    kind: operations.BINARY[kind]
    for kind in (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
}
LOGIC: dict[type[ast.operator], Operator] = {
    kind: operations.BINARY[kind] for kind in (ast.BitAnd, ast.BitOr, ast.BitXor)
}
SIGNS: dict[type[ast.unaryop], Operator] = {
    kind: operations.UNARY[kind] for kind in (ast.UAdd, ast.USub)
}
NEGATION = operations.UNARY[ast.Invert]
FUNCTIONS = {
    **operations.ELEMENTWISE,
    "min": operations.ELEMENTWISE["minimum"],
    "max": operations.ELEMENTWISE["maximum"],
}
"""Functions of numbers."""
WHERE = operations.FUNCTIONS["where"]
OF_CONDITIONS = {operator.symbol for operator in (*LOGIC.values(), NEGATION)}
"""Symbols of the operators that combine conditions."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression and the variables it uses."""

    source: str
    variables: frozenset[str]
    is_condition: bool = field(compare=False)
    """Whether the value is true or false instead of a number."""
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
        value = _Interpreter(text, dict.fromkeys(variables, _scalar(math.nan))).value(tree)
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        used = frozenset(names.intersection(variables))
        return cls(source, used, _is_condition(value), tree)

    def evaluate(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return the value, elementwise over broadcast `values` and in their floating dtype, or
        bool if it is a condition.

        Without variables, the result is a float64 or bool scalar. Unused `values` are ignored.

        Raises:
            Invalid: a variable has no value, the shapes cannot be broadcast, or NaN is compared.
        """
        missing = sorted(self.variables.difference(values))
        if missing:
            raise Invalid(f"the formula {self.source!r} needs a value for {', '.join(missing)}")
        used = {name: values[name] for name in sorted(self.variables)}
        interpreter = _Interpreter(SourceText(self.source, FORMULA), used)
        try:
            result = interpreter.value(self._tree)
        except RuntimeError as error:
            shapes = ", ".join(f"{name} of shape {tuple(v.shape)}" for name, v in used.items())
            reason = str(error).partition("\n")[0]
            raise Invalid(f"cannot compute {self.source!r} with {shapes}: {reason}") from error
        self._refuse_undefined(interpreter.undefined, used)
        return _in_dtype_of(used.values(), _operand(result))

    def _refuse_undefined(self, undefined: Sequence[Tensor], used: Mapping[str, Tensor]) -> None:
        """Refuse comparisons of NaN, which would be false without a word."""
        for mask in undefined:
            if not mask.any():
                continue
            where = int(mask.flatten().nonzero()[0])
            at = ", ".join(
                f"{name}={value.flatten()[where]:g}"
                for name, value in used.items()
                if value.shape == mask.shape
            )
            raise Invalid(
                f"the formula {self.source!r} compares a value that is not defined at {at} "
                f"({int(mask.sum())} such rows of {mask.numel()}); compare a "
                "where(condition, a, b) that avoids it"
            )


def check_name(name: str) -> None:
    """Check that a variable can have this name.

    Raises:
        Invalid: it is a keyword or a function's name, no identifier, or too long.
    """
    syntax.check_name(name, FUNCTIONS)


@dataclass(frozen=True)
class _Interpreter(Interpreter):
    """Computes parts without variables as floats or booleans, and others as tensors."""

    undefined: list[Tensor] = field(default_factory=list)
    """Where each comparison so far compared NaN."""

    binary = ARITHMETIC | LOGIC
    unary = SIGNS | {ast.Invert: NEGATION}
    functions = FUNCTIONS | {"where": WHERE}

    def _number(self, node: ast.expr, number: float) -> float:
        # In Python a bool is an int, but a formula has no True and False.
        if isinstance(number, bool):
            raise self._refused(node)
        value = as_float(number)
        if not math.isfinite(value):
            raise self.source.refusal(
                node, f"{self.source.quoted(node)} is {value}, not a finite number"
            )
        return value

    def _applied(self, node: ast.expr, operator: Operator, operands: list[Value]) -> Value:
        parts = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        return self._computed(node, operator, operands, parts[-len(operands) :])

    def _computed(
        self,
        node: ast.expr,
        operator: Operator,
        operands: list[Value],
        parts: Sequence[ast.expr],
    ) -> Value:
        """Return the value of `node`, an operation on the values of its `parts`."""
        wanted = _conditions_of(operator, operands)
        for part, operand, is_condition in zip(parts, operands, wanted, strict=True):
            if _is_condition(operand) != is_condition:
                advice = self._other_kind(node, operator, part, is_condition)
                raise self.source.refusal(part, f"{self.source.quoted(part)} is {advice}")
        result: Tensor = operator.operation.run(*map(_operand, operands))
        if any(isinstance(operand, Tensor) for operand in operands):
            return result
        number = result.item()
        return number if isinstance(number, bool) else self._number(node, number)

    def _other_kind(
        self, node: ast.expr, operator: Operator, part: ast.expr, is_condition: bool
    ) -> str:
        """Return what to write if a part is a number instead of a condition, or a condition instead
        of a number."""
        text = self.source.part(part)
        if not is_condition:
            return f"true or false, not a number; write where({text}, 1, 0)"
        if operator.operation is WHERE:
            return f"a number, not a comparison; write for example {text} > 0"
        power = "; for a power, write x**2" if operator.symbol == "^" else ""
        return (
            f"a number, and {operator.symbol} combines comparisons, each in parentheses, as in "
            f"(x > 0) & (x < 1){power}"
        )

    def _other(self, node: ast.expr, depth: int) -> Value:
        match node:
            case ast.Compare(left, ops, others) if all(type(op) in COMPARISONS for op in ops):
                parts = [left, *others]
                values = [self.value(part, depth + 1) for part in parts]
                pairs = [
                    self._compared(node, COMPARISONS[type(op)], values[i : i + 2], parts[i : i + 2])
                    for i, op in enumerate(ops)
                ]
                return reduce(lambda one, other: self._both(node, one, other), pairs)
        raise self._refused(node)

    def _compared(
        self, node: ast.expr, operator: Operator, pair: list[Value], parts: list[ast.expr]
    ) -> Value:
        result = self._computed(node, operator, pair, parts)
        if isinstance(result, Tensor):
            one, other = map(_operand, pair)
            self.undefined.append(one.isnan() | other.isnan())
        return result

    def _both(self, node: ast.expr, one: Value, other: Value) -> Value:
        """Return whether both of two conditions hold, as in `0 < x < 1`."""
        return self._computed(node, LOGIC[ast.BitAnd], [one, other], [node, node])

    def _function(self, node: ast.expr, name: str, given: int) -> Operator:
        function = super()._function(node, name, given)
        arity = len(function.operation.parameters)
        if given != arity:
            raise self.source.refusal(
                node, f"{name} takes {counted(arity, 'argument')}, not {given}"
            )
        return function

    def _hint(self, node: ast.expr) -> str:
        symbols = " ".join(operator.symbol for operator in ARITHMETIC.values())
        return f"a formula has numbers, names, parentheses, functions, comparisons and {symbols}"


def _conditions_of(operator: Operator, operands: Sequence[Value]) -> list[bool]:
    """Return which operands an operation needs to be conditions; the others must be numbers."""
    if operator.operation is WHERE:
        chooses_conditions = _is_condition(operands[1])
        return [True, chooses_conditions, chooses_conditions]
    return [operator.symbol in OF_CONDITIONS] * len(operands)


def _is_condition(value: Value) -> bool:
    return value.dtype == torch.bool if isinstance(value, Tensor) else isinstance(value, bool)


def _operand(value: Value) -> Tensor:
    return value if isinstance(value, Tensor) else _scalar(value)


def _scalar(number: Value) -> Tensor:
    """Return a number as a scalar, whose dtype does not widen that of other tensors."""
    return torch.tensor(number, dtype=None if isinstance(number, bool) else torch.float64)


def _in_dtype_of(values: Iterable[Tensor], result: Tensor) -> Tensor:
    """Return `result` in the dtype of `values`: numbers widen a result without dimensions."""
    dtypes = [value.dtype for value in values]
    if result.dim() or not dtypes or result.dtype == torch.bool:
        return result
    dtype = reduce(torch.promote_types, dtypes)
    return result.to(dtype) if dtype.is_floating_point else result
