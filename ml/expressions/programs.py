"""Run a list of expressions that share variables and gradients."""

import ast
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from ml.errors import Invalid
from ml.expressions.budget import WRITING
from ml.expressions.gradients import Graph, GraphRecorder
from ml.expressions.shapes import shown, volume
from ml.expressions.syntax import SourceText
from ml.expressions.tensor_interpreter import (
    EXPRESSION,
    Scope,
    TensorInterpreter,
    check_name,
    names_used,
)
from ml.expressions.values import MAX_WRITTEN, Json, dtype_name, from_json, to_json
from ml.strict import Frozen

MAX_EXPRESSIONS = 20
MAX_VARIABLES = 50


class Result(Frozen):
    """The value of an expression, with its shape, dtype, gradients and graph."""

    expression: str
    name: str | None = Field(description="Name assigned to, such as y in `y = x**2`.")
    value: Json = Field(
        description="A number, a boolean, or nested lists of them. Numbers that are not finite are "
        'the texts "NaN", "Infinity" or "-Infinity". Null for a named result of over 10,000 '
        "elements, of which later expressions can take parts."
    )
    shape: list[int]
    dtype: str = Field(examples=["float32"])
    is_view: bool = Field(description="Whether the result shares the memory of another tensor.")
    view_of: str | None = Field(
        description="Name of the tensor that the result is a view of, if it has one."
    )
    requires_grad: bool = Field(
        description="Whether the result depends on a variable with a gradient."
    )
    gradients: dict[str, Json] | None = Field(
        description="`.grad` of each variable after this expression was differentiated; null for a "
        "variable that no result depended on so far. Null as a whole if gradients were not "
        "requested, or if a later expression uses this one by its name."
    )
    graph: Graph | None = Field(
        description="Autograd's graph; null if the result was not differentiated."
    )


@dataclass(frozen=True)
class _Statement:
    """An expression, the name it is assigned to, and whether a later one uses that name."""

    source: SourceText
    tree: ast.expr
    name: str | None
    is_step: bool


def run(
    expressions: Sequence[str],
    variables: Mapping[str, Json],
    gradients: bool | Collection[str] = False,
    zero_grad: bool = False,
    seed: int = 0,
) -> list[Result]:
    """Return the results of `expressions`, each of which sees the names assigned before it.

    With `gradients`, of all variables (True) or of those named, each result is differentiated,
    except those that later expressions use by name or that depend on no variable. Gradients
    accumulate over the expressions, as in PyTorch; with `zero_grad` they are zeroed before each.
    `seed` is that of the random numbers.

    Raises:
        Invalid: a variable or an expression is wrong or too large; `loc` is `("variables", name,
            ...)`, `("gradients", index)` or `("expressions", index)`.
    """
    tensors = _variables(variables, gradients)
    leaves = {name: tensor for name, tensor in tensors.items() if tensor.requires_grad}
    random = torch.Generator().manual_seed(seed)
    scope = Scope(dict(tensors), random, GraphRecorder(leaves))
    statements = _statements(expressions, tensors)
    results = []
    for i, statement in enumerate(statements):
        if zero_grad:
            for leaf in leaves.values():
                if leaf.grad is not None:
                    leaf.grad.zero_()
        try:
            results.append(_result(statement, scope, leaves, gradients is not False))
        except Invalid as error:
            raise error.at("expressions", i) from None
    return results


def _variables(
    variables: Mapping[str, Json], gradients: bool | Collection[str]
) -> dict[str, Tensor]:
    if len(variables) > MAX_VARIABLES:
        raise Invalid(
            f"there are {len(variables)}; at most {MAX_VARIABLES} are allowed", ("variables",)
        )
    if not isinstance(gradients, bool):
        for i, name in enumerate(gradients):
            if name not in variables:
                raise Invalid(f"{name[:60]!r} is not a variable", ("gradients", i))
    tensors = {}
    for name, value in variables.items():
        differentiable = gradients if isinstance(gradients, bool) else name in gradients
        try:
            check_name(name)
            tensors[name] = from_json(value, differentiable)
        except Invalid as error:
            raise error.at("variables", name) from None
    count = sum(tensor.numel() for tensor in tensors.values())
    if count > MAX_WRITTEN:
        raise Invalid(
            f"have {count:,} numbers together; at most {MAX_WRITTEN:,} are allowed", ("variables",)
        )
    return tensors


def _statements(expressions: Sequence[str], variables: Collection[str]) -> list[_Statement]:
    if len(expressions) > MAX_EXPRESSIONS:
        raise Invalid(
            f"there are {len(expressions)}; at most {MAX_EXPRESSIONS} are allowed", ("expressions",)
        )
    used: set[str] = set()
    statements = []
    for i, text in reversed(list(enumerate(expressions))):
        source = SourceText(text, EXPRESSION)
        try:
            name, tree = _parts(source, variables)
        except Invalid as error:
            raise error.at("expressions", i) from None
        statements.append(_Statement(source, tree, name, name in used))
        used.update(names_used(tree))
    return statements[::-1]


def _parts(source: SourceText, variables: Collection[str]) -> tuple[str | None, ast.expr]:
    """Return the name assigned to, if any, and the expression."""
    statement = source.statement()
    match statement:
        case ast.Expr(tree):
            return None, tree
        case ast.Assign([ast.Name(name)], tree):
            if name in variables:
                raise Invalid(f"{name!r} is a variable; assign to another name")
            check_name(name)
            return name, tree
    raise source.refusal(
        statement,
        f"{source.quoted(statement)} is not allowed; write an expression, as x**2, or give it a "
        "name, as y = x**2",
    )


def _result(
    statement: _Statement, scope: Scope, leaves: Mapping[str, Tensor], differentiate: bool
) -> Result:
    tensor = TensorInterpreter(statement.source, scope.names, scope).tensor(statement.tree)
    is_view, owner = _view(tensor, scope.names)
    graph = None
    if differentiate and tensor.requires_grad and not statement.is_step:
        graph = _differentiate(tensor, scope)
    if statement.name is not None:
        # Stored as a tensor: nested lists could grow without limit.
        scope.names[statement.name] = tensor
    is_shown = statement.name is None or volume(tensor.shape) <= MAX_WRITTEN
    return Result(
        expression=statement.source.text,
        name=statement.name,
        value=_written(tensor, scope) if is_shown else None,
        shape=list(tensor.shape),
        dtype=dtype_name(tensor.dtype),
        is_view=is_view,
        view_of=owner,
        requires_grad=tensor.requires_grad,
        gradients=(
            {
                name: None if leaf.grad is None else _written(leaf.grad, scope)
                for name, leaf in leaves.items()
            }
            if differentiate and not statement.is_step
            else None
        ),
        graph=graph,
    )


def _differentiate(result: Tensor, scope: Scope) -> Graph:
    """Add the gradient of `result` to those of the variables, and return its graph."""
    if result.numel() != 1:
        raise Invalid(
            f"gradients need a result of one number, and this one is {shown(result.shape)}; reduce "
            "it by sum(...) or mean(...), or leave out gradients"
        )
    scope.budget.spend(scope.graph_recorder.work(result))
    graph = scope.graph_recorder.graph(result)
    try:
        # The graph is retained because a later expression may share it.
        result.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise Invalid(f"PyTorch cannot differentiate it: {reason}") from None
    return graph


def _written(tensor: Tensor, scope: Scope) -> Json:
    written = to_json(tensor)
    scope.budget.spend(WRITING * tensor.numel())
    return written


def _view(tensor: Tensor, names: Mapping[str, Tensor]) -> tuple[bool, str | None]:
    """Return whether a tensor is a view, and the name of its base, if it has one."""
    base = tensor._base
    if base is None:
        return False, None
    for name, value in names.items():
        if value is base or value._base is base:
            return True, name
    return True, None
