"""Routes for the evaluation of trained models."""

from typing import Annotated

from fastapi import APIRouter, Body, Request

from ml.evaluation.schemas import Evaluation
from service.errors import DeadlineExceeded, FilesDamaged, NotFound, Overloaded
from service.http.problem_json import problems
from service.models.evaluation import SECONDS
from service.models.schemas import EvaluationRequest
from service.routes.dependencies import AppComponents, CurrentCaller
from service.routes.parameters import ModelName, Version
from service.work.attended import AttendedRequest

router = APIRouter(prefix="/models", tags=["models"])

LOADING_SECONDS = 300.0
"""Time for the data of an evaluation, which may be downloaded."""
EXAMPLES = {
    "Its own test rows": {"value": {}},
    "Other rows of a line": {
        "value": {
            "dataset": {
                "kind": "synthetic",
                "features": {"x": {"linspace": [-10, 20]}},
                "target": "3*x + 2",
                "size": 1000,
            },
        }
    },
    "The newest rows of a table": {
        "value": {
            "dataset": {"kind": "upload", "id": "ds_01JD3V0M8Q6W4N2X7Y9Z5K1T3B"},
            "division": {"time": "date", "test": 0.1},
        }
    },
}


@router.get("/{name}/versions/{version}/evaluation", responses=problems(NotFound, FilesDamaged))
def get_evaluation(name: ModelName, version: Version, components: AppComponents) -> Evaluation:
    """Return the evaluation made at the end of the model's training."""
    return components.evaluator.evaluation_at_training(name, version)


@router.post(
    "/{name}/versions/{version}/evaluate",
    responses=problems(NotFound, Overloaded, FilesDamaged, DeadlineExceeded),
)
async def evaluate_model(
    name: ModelName,
    version: Version,
    request: Annotated[EvaluationRequest, Body(openapi_examples=EXAMPLES)],
    components: AppComponents,
    caller: CurrentCaller,
    http_request: Request,
) -> Evaluation:
    """Evaluate the model on any data set with the same inputs and output: on all rows of another
    one, and by default on the test rows of its own. An uploaded table is read by the columns the
    model was trained on, in any order, unless the request names others.

    One row or rows of one class suffice; metrics that are undefined are null. `baseline` has the
    metrics of simple predictors on the same rows."""
    attended = AttendedRequest(http_request.receive, LOADING_SECONDS + SECONDS)
    with components.datasets.recording_damage():
        return await attended.run(
            components.work.bulk,
            components.evaluator.evaluate,
            name,
            version,
            request,
            components.datasets.seen_by(caller),
            attended.check,
        )
