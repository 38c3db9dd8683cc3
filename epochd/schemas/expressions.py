"""Values and gradients of tensor expressions."""

from collections.abc import Mapping
from typing import Any

from epochd.schemas.base import Schema


class ExpressionResult(Schema):
    """The value of an expression."""

    expression: str
    name: str | None
    value: Any
    shape: list[int]
    dtype: str
    is_view: bool
    view_of: str | None
    requires_grad: bool
    gradients: Mapping[str, Any] | None
    graph: dict[str, Any] | None


class ExpressionResponse(Schema):
    """One result per expression, in order."""

    results: list[ExpressionResult]
