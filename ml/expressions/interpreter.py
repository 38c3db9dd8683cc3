"""One statement of the language, walked and computed; what is not of the language is refused."""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from ml.errors import Invalid
from ml.expressions import shapes, syntax
from ml.expressions.arguments import bind
from ml.expressions.budget import STEP, Budget
from ml.expressions.formula import CONSTANTS
from ml.expressions.gradients import Tape
from ml.expressions.indexing import Index, Item, index
from ml.expressions.operations import (
    BINARY,
    COMPARISONS,
    DTYPES,
    FUNCTIONS,
    METHODS,
    PROPERTIES,
    UNARY,
    Operation,
    Operator,
)
from ml.expressions.scalars import Number, checked, compute
from ml.expressions.syntax import Language, Source, listed
from ml.expressions.values import Value, as_tensor

T = TypeVar("T")

EXPRESSION = Language(noun="expression", example="x**2 + 1", max_nodes=300)
TORCH = "torch"
SENTENCES = {
    r"ZeroDivisionError": "whole numbers cannot be divided by 0; use .float()",
    r"Integers to negative integer powers are not allowed": (
        "whole numbers have no negative powers; use .float()"
    ),
    r"\"bitwise_\w+\" not implemented for": "it combines booleans, as in (x > 0) & (x < 1)",
    r"not implemented for 'Bool'": "it does not work on booleans; use .float()",
    r"[Ss]ubtraction, .* bool": "booleans cannot be subtracted; use ~ or .float()",
    r"Negation, .* bool": "booleans have no negative; use ~ or .float()",
    r"expects 'from' to be less than 'to'": "the first number must be smaller than the second",
}
"""What to say instead of what PyTorch says."""


@dataclass(frozen=True)
class Scope:
    """What the expressions of a request share: names, random numbers, budget and tape."""

    names: dict[str, Tensor]
    random: torch.Generator
    tape: Tape
    budget: Budget = field(default_factory=Budget)


@dataclass(frozen=True)
class Evaluator:
    """Computes the trees of one source."""

    source: Source
    scope: Scope

    def tensor(self, node: ast.expr) -> Tensor:
        """Return the value of a tree, as a tensor.

        Raises:
            Invalid: see `value`; or it is none.
        """
        value = self.value(node)
        return self._checked(node, lambda: as_tensor(value))

    def value(self, node: ast.expr, depth: int = 1) -> Value:
        """Return the value of a tree.

        Raises:
            Invalid: it has a part that is not of the language, that does not fit, or is too large.
        """
        if depth > EXPRESSION.max_depth:
            raise self.source.too_deep()
        match node:
            case ast.BinOp(left, op, right) if type(op) in BINARY:
                # Python nests a long sum to the left; to its author it is not nested at all.
                operands = [self.value(left, depth), self.value(right, depth + 1)]
                return self._operated(node, BINARY[type(op)], operands)
            case ast.UnaryOp(op, operand) if type(op) in UNARY:
                return self._operated(node, UNARY[type(op)], [self.value(operand, depth + 1)])
            case ast.Compare(left, [op], [right]) if type(op) in COMPARISONS:
                operands = [self.value(left, depth + 1), self.value(right, depth + 1)]
                return self._operated(node, COMPARISONS[type(op)], operands)
            case ast.Name(name) | ast.Attribute(ast.Name("torch"), name):
                return self._named(node, name)
            case ast.Attribute(owner, name):
                return self._property(node, self.value(owner, depth + 1), name)
            case ast.Call(function, arguments, keywords):
                return self._called(node, function, arguments, keywords, depth)
            case ast.Subscript(owner, key):
                return self._indexed(node, self.value(owner, depth + 1), key, depth)
            case ast.List(items) | ast.Tuple(items):
                return [self.value(item, depth + 1) for item in items]
            case ast.Constant(int() | float() as number):
                return self._checked(node, lambda: checked(number))
            case ast.Constant(None):
                return None
        raise self.source.refusal(node, f"{self.source.quoted(node)} is not allowed; {_hint(node)}")

    def _checked(self, node: ast.expr, run: Callable[[], T]) -> T:
        """Return what `run` makes of `node`; where that fails, say where it was."""
        try:
            return run()
        except Invalid as error:
            reason = error.msg
        except (RuntimeError, TypeError, ValueError, IndexError, OverflowError) as error:
            reason = _sentence(str(error).partition("\n")[0])
        raise self.source.refusal(node, f"in {self.source.quoted(node)}: {reason}")

    def _operated(self, node: ast.expr, operator: Operator, operands: list[Value]) -> Value:
        numbers = [operand for operand in operands if isinstance(operand, int | float)]
        operation = operator.operation
        if len(numbers) == len(operands) and operation.takes_numbers:
            return self._number(node, operation, numbers)
        return self._applied(node, operator.symbol, operator.symbol, operation, operands, {})

    def _number(self, node: ast.expr, operation: Operation, numbers: list[Number]) -> Number:
        return self._checked(node, lambda: compute(operation.run, *numbers))

    def _applied(
        self,
        node: ast.expr,
        symbol: str,
        name: str,
        operation: Operation,
        positional: list[Value],
        keywords: dict[str, Value],
    ) -> Value:
        def run() -> Value:
            arguments = bind(name, operation.parameters, positional, keywords)
            shape = shapes.checked(operation.shape(*arguments))
            work = operation.work(arguments, shape)
            self.scope.budget.spend(STEP if operation.is_view else STEP + work)
            random = {"generator": self.scope.random} if operation.is_random else {}
            result: Value = operation.run(*arguments, **random)
            if not isinstance(result, Tensor):
                return checked(result)
            self.scope.tape.record(result, symbol, self.source.part(node), work)
            return result

        return self._checked(node, run)

    def _called(
        self,
        node: ast.expr,
        function: ast.expr,
        arguments: list[ast.expr],
        keywords: list[ast.keyword],
        depth: int,
    ) -> Value:
        match function:
            case ast.Name(name) | ast.Attribute(ast.Name("torch"), name):
                if name not in FUNCTIONS:
                    known = listed(FUNCTIONS)
                    raise self.source.refusal(node, f"unknown function {name!r}; known: {known}")
                positional = []
            case ast.Attribute(owner, name):
                if name not in METHODS:
                    known = listed(METHODS)
                    raise self.source.refusal(node, f"unknown method {name!r}; known: {known}")
                positional = [self.value(owner, depth + 1)]
            case _:
                raise self.source.refusal(
                    node, f"{self.source.quoted(function)} is no function and cannot be called"
                )
        positional += [self.value(argument, depth + 1) for argument in arguments]
        named: dict[str, Value] = {}
        for keyword in keywords:
            if keyword.arg is None:
                raise self.source.refusal(keyword.value, "** is not allowed before an argument")
            named[keyword.arg] = self.value(keyword.value, depth + 1)
        return self._applied(node, f"{name}()", name, FUNCTIONS[name], positional, named)

    def _named(self, node: ast.expr, name: str) -> Value:
        # A variable may be called e; `torch.e` still means the number.
        of_torch = isinstance(node, ast.Attribute)
        if name in self.scope.names and not of_torch:
            return self.scope.names[name]
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in DTYPES:
            return DTYPES[name]
        if name in FUNCTIONS:
            raise self.source.refusal(node, f"{name!r} is a function; write {name}(...)")
        known = listed({*self.scope.names, *CONSTANTS})
        raise self.source.refusal(node, f"unknown name {name!r}; known: {known}")

    def _property(self, node: ast.Attribute, owner: Value, name: str) -> Value:
        if name == "T":
            return self._applied(node, ".T", "T", FUNCTIONS["t"], [owner], {})
        if name in PROPERTIES:
            return self._checked(node, lambda: PROPERTIES[name](as_tensor(owner)))
        if name in METHODS:
            raise self.source.refusal(node, f"{name!r} is a method; write .{name}(...)")
        known = listed({"T", *PROPERTIES, *METHODS})
        raise self.source.refusal(node, f"unknown attribute {name!r}; known: {known}")

    def _indexed(self, node: ast.expr, owner: Value, key: ast.expr, depth: int) -> Value:
        parts = key.elts if isinstance(key, ast.Tuple) else [key]
        items = [self._item(part, depth + 1) for part in parts]
        if isinstance(owner, list) and len(items) == 1 and type(items[0]) is int:
            position = items[0]
            return self._checked(node, lambda: owner[position])

        def run() -> Tensor:
            tensor = as_tensor(owner)
            taken: Index = index(tuple(tensor.shape), items)
            touched = shapes.volume(shapes.checked(taken.sizes)) + tensor.numel()
            self.scope.budget.spend(STEP if taken.is_view else STEP + touched)
            result = tensor[taken.items]
            shapes.checked(result.shape)
            self.scope.tape.record(result, "[]", self.source.part(node), touched)
            return result

        return self._checked(node, run)

    def _item(self, node: ast.expr, depth: int) -> Item:
        match node:
            case ast.Constant(dots) if dots is ...:
                return ...
            case ast.Slice(lower, upper, step):
                return slice(*(self._bound(part, depth) for part in (lower, upper, step)))
        value = self.value(node, depth)
        if value is None or type(value) is int:
            return value
        return self._checked(node, lambda: as_tensor(value))

    def _bound(self, node: ast.expr | None, depth: int) -> int | None:
        if node is None:
            return None
        item = self._item(node, depth)
        if isinstance(item, Tensor) and not item.dim() and not item.is_floating_point():
            item = int(item.item())
        if item is not None and not isinstance(item, int):
            raise self.source.refusal(
                node, f"{self.source.quoted(node)} must be a whole number to bound a slice"
            )
        return item


def check_name(name: str) -> None:
    """Do nothing for a name that a variable can have.

    Raises:
        Invalid: it is no identifier, a keyword, too long, or means something already.
    """
    # A function's name is free: only before parentheses it means the function.
    syntax.check_name(name, functions=())
    if name == TORCH:
        raise Invalid(f"{name!r} means PyTorch; name the variable otherwise")


def names_used(tree: ast.AST) -> set[str]:
    """Return the names that a tree uses."""
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def _sentence(said: str) -> str:
    """Return PyTorch's complaint in our words, if there are any."""
    found = (ours for theirs, ours in SENTENCES.items() if re.search(theirs, said))
    return next(found, f"PyTorch cannot compute it: {said}")


def _hint(node: ast.expr) -> str:
    """Return what to write instead."""
    match node:
        case ast.Compare():
            return "compare two at a time: (0 < x) & (x < 1)"
        case ast.BoolOp() | ast.UnaryOp(ast.Not()):
            return "combine booleans with & | ~, each comparison in parentheses"
        case ast.IfExp():
            return "choose by where(condition, a, b)"
    return (
        "an expression has numbers, lists, names, functions, methods, indices, "
        f"{' '.join(operator.symbol for operator in BINARY.values())} and comparisons"
    )
