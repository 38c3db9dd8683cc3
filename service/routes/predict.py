"""Predictions."""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from ml.errors import Invalid
from service.dependencies import Parts, Service
from service.errors import NotFound, TooLarge, Unprocessable, UnsupportedMediaType, problems
from service.payloads import Payload, read_payload
from service.schemas import PredictRequest, PredictResponse

router = APIRouter(tags=["predict"])

BINARY = {"schema": {"type": "string", "format": "binary"}}
EXAMPLES = {
    "rows": {"value": {"model": "plane", "inputs": [[0.1, 0.2, 0.3]]}},
    "rows by name": {"value": {"model": "plane", "inputs": [{"a": 0.1, "b": 0.2, "c": 0.3}]}},
    "a version": {"value": {"model": "plane@1", "inputs": [[0.1, 0.2, 0.3]]}},
    "an image file": {"value": {"model": "mnist", "images": ["iVBORw0KGgo..."]}},
}
BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": PredictRequest.model_json_schema(),
            "examples": EXAMPLES,
        },
        "image/png": BINARY,
        "image/jpeg": BINARY,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "model": {"type": "string"},
                    "file": {"type": "array", "items": BINARY["schema"]},
                },
                "required": ["file"],
            }
        },
    },
}
MODEL = {
    "name": "model",
    "in": "query",
    "schema": {"type": "string"},
    "description": "The model, where the body is an image: `name`, or `name@3`.",
}


@router.post(
    "/predict",
    openapi_extra={"requestBody": BODY, "parameters": [MODEL]},
    responses=problems(NotFound, TooLarge, UnsupportedMediaType, Unprocessable),
)
async def predict(request: Request, service: Service) -> PredictResponse:
    """Rows or images in, one prediction each out."""
    payload = await read_payload(request)
    return await run_in_threadpool(_answer, payload, service)


def _answer(payload: Payload, service: Parts) -> PredictResponse:
    limit = service.settings.max_rows
    if len(payload) > limit:
        raise TooLarge(f"{len(payload):,} rows are over the limit of {limit:,} a request")
    ref, model = service.predictor.find(payload.model)
    try:
        predictions = model.predict(payload.inputs(model, service.settings))
    except Invalid as error:
        raise Unprocessable.at(Invalid(error.msg), *payload.place(error.loc)) from None
    return PredictResponse(model=ref.name, version=ref.version, predictions=predictions)
