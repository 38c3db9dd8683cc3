"""Interpreter of the tensor expression language."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from ml.errors import Invalid
from ml.expressions import shapes, syntax
from ml.expressions.arguments import bind
from ml.expressions.budget import STEP, Budget
from ml.expressions.gradients import GraphRecorder
from ml.expressions.indexing import Index, Item, index
from ml.expressions.interpreter import Interpreter
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
from ml.expressions.scalars import checked, compute
from ml.expressions.sentences import REFUSALS, in_words
from ml.expressions.syntax import Language, listed
from ml.expressions.values import Value, as_tensor

T = TypeVar("T")

EXPRESSION = Language(noun="expression", example="x**2 + 1", max_nodes=300)
TORCH = "torch"


@dataclass(frozen=True)
class Scope:
    """State shared by the expressions of a request."""

    names: dict[str, Tensor]
    random: torch.Generator
    graph_recorder: GraphRecorder
    budget: Budget = field(default_factory=Budget)


@dataclass(frozen=True)
class TensorInterpreter(Interpreter):
    """Computes the trees of one source, with tensors as values."""

    scope: Scope

    binary, unary, functions = BINARY, UNARY, FUNCTIONS

    def tensor(self, node: ast.expr) -> Tensor:
        """Return the value of a tree, as a tensor.

        Raises:
            Invalid: see `value`; or the value is not a tensor.
        """
        value = self.value(node)
        return self._checked(node, lambda: as_tensor(value))

    def _number(self, node: ast.expr, number: float) -> Value:
        return self._checked(node, lambda: checked(number))

    def _constant(self, node: ast.expr, name: str) -> Value:
        return DTYPES[name] if name in DTYPES else super()._constant(node, name)

    def _other(self, node: ast.expr, depth: int) -> Value:
        match node:
            case ast.Compare(left, [op], [right]) if type(op) in COMPARISONS:
                operands = [self.value(left, depth + 1), self.value(right, depth + 1)]
                return self._applied(node, COMPARISONS[type(op)], operands)
            case ast.Attribute(ast.Name("torch"), name):
                # `torch.e` is the constant even if there is a variable e.
                return self._constant(node, name)
            case ast.Attribute(owner, name):
                return self._property(node, self.value(owner, depth + 1), name)
            case ast.Call():
                return self._called(node, depth)
            case ast.Subscript(owner, key):
                return self._indexed(node, self.value(owner, depth + 1), key, depth)
            case ast.List(items) | ast.Tuple(items):
                return [self.value(item, depth + 1) for item in items]
            case ast.Constant(None):
                return None
        raise self._refused(node)

    def _applied(
        self,
        node: ast.expr,
        operator: Operator,
        operands: list[Value],
        keywords: Mapping[str, Value] = {},
    ) -> Value:
        symbol, operation = operator
        numbers = [operand for operand in operands if isinstance(operand, int | float)]
        if len(numbers) == len(operands) and operation.takes_numbers:
            return self._checked(node, lambda: compute(operation.run, *numbers))

        def run() -> Value:
            arguments = bind(symbol.strip(".()"), operation.parameters, operands, keywords)
            try:
                result, work = self._paid(operation, arguments)
            except Invalid:
                raise
            except REFUSALS as error:
                raise Invalid(in_words(error, arguments)) from None
            if isinstance(result, Tensor):
                self.scope.graph_recorder.record(result, symbol, self.source.part(node), work)
            return result

        return self._checked(node, run)

    def _paid(self, operation: Operation, arguments: list[object]) -> tuple[Value, int]:
        """Run an operation within the budget; return its result and its work."""
        work = operation.reading(arguments)
        foreseen = operation.shape(*arguments)
        if foreseen is not None:
            work += operation.writing(shapes.checked(foreseen))
        self.scope.budget.spend(STEP if operation.is_view else STEP + work)
        random = {"generator": self.scope.random} if operation.is_random else {}
        result = operation.run(*arguments, **random)
        if not isinstance(result, Tensor):
            return checked(result), work
        if foreseen is None:
            written = operation.writing(shapes.checked(result.shape))
            self.scope.budget.spend(0 if operation.is_view else written)
            work += written
        return result, work

    def _hint(self, node: ast.expr) -> str:
        if isinstance(node, ast.Compare):
            return "compare two at a time: (0 < x) & (x < 1)"
        symbols = " ".join(operator.symbol for operator in BINARY.values())
        return (
            "an expression has numbers, lists, names, functions, methods, indices, "
            f"{symbols} and comparisons"
        )

    def _checked(self, node: ast.expr, run: Callable[[], T]) -> T:
        """Return the result of `run`; errors are located at `node`."""
        try:
            return run()
        except Invalid as error:
            reason = error.msg
        except REFUSALS as error:
            reason = in_words(error)
        raise self.source.refusal(node, f"in {self.source.quoted(node)}: {reason}")

    def _called(self, node: ast.Call, depth: int) -> Value:
        """Return the value of a method call, or of a function call with keyword arguments."""
        match node.func:
            case ast.Name(name) | ast.Attribute(ast.Name("torch"), name):
                operator, operands = self._function(node, name, len(node.args)), []
            case ast.Attribute(owner, name):
                if name not in METHODS:
                    known = listed(METHODS)
                    raise self.source.refusal(node, f"unknown method {name!r}; known: {known}")
                operator = Operator(f"{name}()", FUNCTIONS[name])
                operands = [self.value(owner, depth + 1)]
            case function:
                advice = self._advice(node)
                raise self.source.refusal(
                    node,
                    f"{self.source.quoted(function)} is not a function and cannot be called"
                    f"{f'; {advice}' if advice else ''}",
                )
        operands += [self.value(argument, depth + 1) for argument in node.args]
        named: dict[str, Value] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise self.source.refusal(keyword.value, "** is not allowed before an argument")
            named[keyword.arg] = self.value(keyword.value, depth + 1)
        return self._applied(node, operator, operands, named)

    def _property(self, node: ast.Attribute, owner: Value, name: str) -> Value:
        if name == "T":
            return self._applied(node, Operator(".T", FUNCTIONS["t"]), [owner])
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
            self.scope.graph_recorder.record(result, "[]", self.source.part(node), touched)
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
    """Check that a variable can have this name.

    Raises:
        Invalid: it is a keyword, no identifier, too long, or `torch`.
    """
    # Names of functions are allowed: they denote the function only before parentheses.
    syntax.check_name(name, functions=())
    if name == TORCH:
        raise Invalid(f"{name!r} means PyTorch; choose another name")


def names_used(tree: ast.AST) -> set[str]:
    """Return the names that a tree uses."""
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
