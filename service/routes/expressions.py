"""Route for tensor expressions and gradients."""

from typing import Annotated

from fastapi import APIRouter, Body, Response

from service.errors import Overloaded
from service.expressions.schemas import ExpressionRequest, ExpressionResponse
from service.http.problem_json import problems
from service.routes.dependencies import AppComponents

router = APIRouter(prefix="/expressions", tags=["expressions"])

EXAMPLES = {
    "Gradients": {
        "value": {
            "expression": "x**2 + y**3 + 10",
            "variables": {"x": 2.0, "y": 3.0},
            "gradients": True,
        }
    },
    "Gradients of vectors": {
        "value": {
            "expression": "2 * sum(a * b)",
            "variables": {"a": [1, 2], "b": [3, 4]},
            "gradients": True,
        }
    },
    "Gradients accumulate": {
        "value": {
            "expressions": ["x**2", "x**3"],
            "variables": {"x": 5.0},
            "gradients": True,
            "zero_grad": False,
        }
    },
    "In steps": {
        "value": {
            "expressions": ["error = x @ w + b - y", "loss = mean(error**2)"],
            "variables": {
                "x": [[1.0], [2.0], [3.0]],
                "y": [5.0, 8.0, 11.0],
                "w": [0.0],
                "b": 0.0,
            },
            "gradients": ["w", "b"],
        }
    },
    "A matrix product": {"value": {"expression": "[[1, 2], [3, 4]] @ [[1, 2], [3, 4]].T"}},
    "Broadcasting": {"value": {"expression": "[[1, 2], [3, 4]] + [10, 20]"}},
    "Views": {"value": {"expressions": ["x = arange(12)", "x.view(3, -1)[:, 1]"]}},
    "Random numbers": {"value": {"expression": "randn(2, 3)", "seed": 42}},
}


@router.post("", response_model=ExpressionResponse, responses=problems(Overloaded))
async def evaluate_expressions(
    request: Annotated[ExpressionRequest, Body(openapi_examples=EXAMPLES)],
    components: AppComponents,
) -> Response:
    """Evaluate tensor expressions and return the value, shape and dtype of each result and whether
    it is a view; with `gradients`, also the gradient for each variable and the autograd graph.

    Nothing is stored. An expression may have at most 1,000 characters and 300 parts, a tensor
    1,000,000 elements and 8 dimensions, and a value in the response 10,000 numbers.
    """
    return Response(await components.expressions.evaluate(request), media_type="application/json")
