"""Request and response bodies about tensor expressions."""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema, model_validator

from ml.errors import Loc
from ml.expressions import MAX_EXPRESSIONS, MAX_VARIABLES, Result
from ml.strict import Strict
from service.schemas import Body

Variable = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number"},
                {"type": "boolean"},
                {"type": "array", "items": {}, "description": "A list, or lists of lists."},
            ]
        }
    ),
]


class ExpressionRequest(Strict):
    """Tensor expressions with PyTorch's names. Give exactly one of `expression` and
    `expressions`."""

    expression: str | None = Field(
        default=None,
        description="Expression of numbers, lists, variables, operators, indices and PyTorch's "
        "functions and methods, for example `x.view(2, -1)[:, 1:].sum()`.",
    )
    expressions: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_EXPRESSIONS,
        description="Expressions, evaluated in order. An assignment such as `y = x**2` names a "
        "result for later expressions.",
    )
    variables: dict[str, Variable] = Field(
        default={},
        description="Numbers, booleans or nested lists of them, by name; at most 10,000 numbers in "
        "total. As in `torch.tensor`, integers become int64 and other numbers float32; variables "
        "with gradients are always float32.",
    )
    gradients: bool | Annotated[list[str], Field(max_length=MAX_VARIABLES)] = Field(
        default=False,
        description="Whether to differentiate each result, which must be a single number: true for "
        "all variables, or a list of variable names. A result used by a later expression is "
        "differentiated only as part of that expression.",
    )
    zero_grad: bool = Field(
        default=False,
        description="Whether to zero the gradients before each expression. By default they "
        "accumulate, as in PyTorch.",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="Seed of `rand`, `randn` and `randint`."
    )

    @model_validator(mode="after")
    def _one_or_many(self) -> "ExpressionRequest":
        if (self.expression is None) == (self.expressions is None):
            raise ValueError("give exactly one of expression and expressions")
        return self

    def place(self, loc: Loc) -> Loc:
        """Return the location in this request for a `loc` of `ml.expressions`."""
        return ("expression",) if self.expressions is None and loc[0] == "expressions" else loc


class ExpressionResponse(Body):
    """One result per expression, in order."""

    results: list[Result]
