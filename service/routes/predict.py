"""OpenAPI description of predictions. `service.predictions.endpoint` handles the requests before
they reach the routes."""

from typing import Any, get_args

from fastapi import APIRouter

from ml.images.header import MEDIA_TYPES
from service.errors import (
    DeadlineExceeded,
    FilesDamaged,
    NotFound,
    Overloaded,
    QuotaExceeded,
    TooLarge,
    Unloaded,
    Unprocessable,
    UnsupportedMediaType,
)
from service.http.problem_json import problems
from service.predictions.endpoint import PATH
from service.predictions.payloads import NDJSON
from service.predictions.query import EXPLAIN, RawType
from service.predictions.schemas import PredictRequest, PredictResponse
from service.schemas import named

router = APIRouter(tags=["predict"])

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
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
            "schema": named(PredictRequest),
            "examples": EXAMPLES,
        },
        "application/x-npy": BINARY,
        "application/octet-stream": BINARY,
        **dict.fromkeys(MEDIA_TYPES, BINARY),
        "multipart/form-data": {
            "schema": {
                "title": "PredictForm",
                "type": "object",
                "properties": {
                    "model": {"type": "string"},
                    "file": {"type": "array", "items": BINARY["schema"]},
                },
                "required": ["file"],
            }
        },
        NDJSON: BINARY,
    },
}


def _query(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "schema": {"type": "string"} | schema,
        "description": description,
    }


PARAMETERS = [
    _query("model", "Model to use if the body is not JSON: `name`, `name@3` or `name@alias`."),
    _query(
        "dtype",
        "dtype of an `application/octet-stream` body; by default uint8 for images and float32 for "
        "features.",
        enum=list(get_args(RawType)),
    ),
    _query("pixels", "Pixel range of arrays and of NDJSON lines.", enum=["0-255", "0-1"]),
    _query(
        "explain",
        "With `true`, each prediction of a model of images has the image that the model saw, "
        "`seen`.",
        enum=list(EXPLAIN),
    ),
]


@router.post(
    PATH,
    openapi_extra={"requestBody": BODY, "parameters": PARAMETERS},
    responses=problems(
        NotFound,
        Unloaded,
        TooLarge,
        UnsupportedMediaType,
        Unprocessable,
        QuotaExceeded,
        Overloaded,
        FilesDamaged,
        DeadlineExceeded,
    )
    | {
        200: {
            "content": {NDJSON: {"schema": {"type": "string"}}},
            "description": "One prediction per row, in order.",
        },
        400: problems(Unprocessable)[422]
        | {"description": "The body is not valid JSON or not a valid form."},
    },
)
async def predict() -> PredictResponse:
    """Predict on rows, arrays or images; the response has one prediction for each. In a body of
    newline-delimited JSON, every line that is not blank is a row, and every line of the response is
    a prediction or an `error`; its limit is EPOCHD_MAX_STREAM_BYTES."""
    raise NotImplementedError("handled by service.predictions.endpoint")
