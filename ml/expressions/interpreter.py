"""Tree interpreter shared by formulas and expressions: numbers, names, operators, functions.

Python's parser parses the text, which is never executed: only operations in a language's tables
are allowed.
"""

import ast
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ml.errors import Invalid
from ml.expressions.operations import CONSTANTS, Operation, Operator
from ml.expressions.syntax import SourceText, listed
from ml.expressions.values import Value
from ml.suggestions import close_match


@dataclass(frozen=True)
class Interpreter(ABC):
    """Computes the trees of one source, with the values of `names`."""

    source: SourceText
    names: Mapping[str, Tensor]

    binary: ClassVar[Mapping[type[ast.operator], Operator]]
    unary: ClassVar[Mapping[type[ast.unaryop], Operator]]
    functions: ClassVar[Mapping[str, Operation]]

    def value(self, node: ast.expr, depth: int = 1) -> Value:
        """Return the value of a tree.

        Raises:
            Invalid: a part is not of the language, does not suit its operation, or is too large.
        """
        if depth > self.source.language.max_depth:
            raise self.source.too_deep()
        match node:
            case ast.BinOp(left, op, right) if type(op) in self.binary:
                # A long sum nests to the left in Python's tree, but does not count as nested.
                operands = [self.value(left, depth), self.value(right, depth + 1)]
                return self._applied(node, self.binary[type(op)], operands)
            case ast.UnaryOp(op, operand) if type(op) in self.unary:
                return self._applied(node, self.unary[type(op)], [self.value(operand, depth + 1)])
            case ast.Call(ast.Name(name), arguments, []):
                function = self._function(node, name, len(arguments))
                operands = [self.value(argument, depth + 1) for argument in arguments]
                return self._applied(node, function, operands)
            case ast.Name(name) if name in self.names:
                return self.names[name]
            case ast.Name(name):
                return self._constant(node, name)
            case ast.Constant(int() | float() as number):
                return self._number(node, number)
        return self._other(node, depth)

    @abstractmethod
    def _number(self, node: ast.expr, number: float) -> Value: ...

    @abstractmethod
    def _applied(self, node: ast.expr, operator: Operator, operands: list[Value]) -> Value: ...

    @abstractmethod
    def _hint(self, node: ast.expr) -> str:
        """Return advice on what to write instead of `node`, which is not of the language."""

    def _function(self, node: ast.expr, name: str, given: int) -> Operator:
        if name not in self.functions:
            raise self.source.refusal(node, f"unknown function {name!r}; {self._meant(name)}")
        return Operator(f"{name}()", self.functions[name])

    def _meant(self, name: str) -> str:
        """Return advice on what to write instead of a call of `name`, which is no function."""
        if name in self.names:
            return f"to multiply, write {name}*(…)"
        if meant := close_match(name, self.functions):
            return f"did you mean {meant}?"
        return f"known: {listed(self.functions)}"

    def _constant(self, node: ast.expr, name: str) -> Value:
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in self.functions:
            raise self.source.refusal(node, f"{name!r} is a function; write {name}(...)")
        known = {*self.names, *CONSTANTS}
        for end in range(1, len(name)):
            if {name[:end], name[end:]} <= known:
                advice = f"to multiply, write {name[:end]}*{name[end:]}"
                raise self.source.refusal(node, f"unknown name {name!r}; {advice}")
        raise self.source.refusal(node, f"unknown name {name!r}; known: {listed(known)}")

    def _other(self, node: ast.expr, depth: int) -> Value:
        """Return the value of a node that only some languages have."""
        raise self._refused(node)

    def _advice(self, node: ast.expr) -> str | None:
        """Return what every language has instead of some of Python's notation."""
        match node:
            case ast.BoolOp() | ast.UnaryOp(ast.Not()):
                return "combine booleans with & | ~, each comparison in parentheses"
            case ast.IfExp():
                return "choose by where(condition, a, b)"
            case ast.Call(ast.Constant(int() | float()) | ast.BinOp() as factor, [other], []):
                left, right = self.source.part(factor), self.source.part(other)
                left = f"({left})" if isinstance(factor, ast.BinOp) else left
                return f"to multiply, write {left}*({right})"
        return None

    def _refused(self, node: ast.expr) -> Invalid:
        advice = self._advice(node) or self._hint(node)
        msg = f"{self.source.quoted(node)} is not allowed; {advice}"
        return self.source.refusal(node, msg)
