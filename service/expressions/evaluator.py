"""Tensor expressions: their bodies, and the few threads that compute them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema, model_validator

from ml.errors import Invalid, Loc
from ml.expressions import MAX_EXPRESSIONS, MAX_VARIABLES, Result, run
from ml.strict import Strict
from service.errors import Overloaded, Unprocessable
from service.schemas import Body

THREADS = 2
MAX_WAITING = 100

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


class Expressions:
    """Computes requests, two at a time: what one takes of time and memory has an end, and so has
    what all take. It belongs to one event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="expressions")
        self._waiting = 0

    async def answer(self, request: ExpressionRequest) -> bytes:
        """Return an `ExpressionResponse` as JSON.

        Raises:
            Unprocessable: an expression or a variable is wrong, or too large.
            Overloaded: too many wait already.
        """
        if self._waiting >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} requests wait already")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, _answered, request
            )
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let what is being computed end, and nothing more begin."""
        self._threads.shutdown(cancel_futures=True)


def _answered(request: ExpressionRequest) -> bytes:
    sources = request.expressions or [request.expression or ""]
    try:
        results = run(
            sources, request.variables, request.gradients, request.zero_grad, request.seed
        )
    except Invalid as error:
        raise Unprocessable.at(Invalid(error.msg), "body", *request.place(error.loc)) from None
    return ExpressionResponse(results=results).model_dump_json().encode()
