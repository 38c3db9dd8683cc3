"""Tensor expressions and their results, as JSON."""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema, model_validator

from ml.errors import Loc
from ml.expressions import MAX_EXPRESSIONS, MAX_VARIABLES, Result
from ml.strict import Strict
from service.schemas import Body

Variable = Annotated[
    Any,
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "array"}]}),
]


class ExpressionRequest(Strict):
    """Tensor expressions in PyTorch's words. Give exactly one of `expression` and `expressions`."""

    expression: str | None = Field(
        default=None,
        description="Such as `x.view(2, -1)[:, 1:].sum()`: numbers, lists, variables, operators, "
        "indices, and PyTorch's functions and methods under its names.",
    )
    expressions: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_EXPRESSIONS,
        description="One after the other. One may be given a name, `y = x**2`, that those after it "
        "can use.",
    )
    variables: dict[str, Variable] = Field(
        default={},
        description="Numbers, booleans or nested lists of them, by name; 10,000 numbers together "
        "at most. As in `torch.tensor`, whole numbers become int64 and others float32; what gets a "
        "gradient is float32 always.",
    )
    gradients: bool | Annotated[list[str], Field(max_length=MAX_VARIABLES)] = Field(
        default=False,
        description="Whether to differentiate each result, which must be a single number; and by "
        "which variables, if not by all. A result that a later expression uses by its name is "
        "differentiated only as a part of that one.",
    )
    zero_grad: bool = Field(
        default=False,
        description="Zero the gradients before each expression. By default they accumulate from "
        "one to the next, as in PyTorch.",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Of `rand`, `randn` and `randint`.")

    @model_validator(mode="after")
    def _one_or_many(self) -> "ExpressionRequest":
        if (self.expression is None) == (self.expressions is None):
            raise ValueError("give exactly one of expression and expressions")
        return self

    def place(self, loc: Loc) -> Loc:
        """Return where in this request the language finds `loc`."""
        return ("expression",) if self.expressions is None and loc[0] == "expressions" else loc


class ExpressionResponse(Body):
    """One result per expression, in order."""

    results: list[Result]
