"""Routes for inference over the Open Inference Protocol v2."""

import zlib
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from ml.decoding import decoding
from ml.errors import Invalid
from ml.inference.model import Inputs
from service.access.caller import Caller
from service.errors import BadRequest, ClientGone, Problem
from service.http.body_limit import joined
from service.http.request_body import WINDOWS
from service.open_inference.model_io import INPUT, inputs_of, outputs_of
from service.open_inference.raw import with_header
from service.open_inference.schemas import InferResponse
from service.open_inference.wire import (
    EncodedResponse,
    InferRequest,
    Limits,
    encode,
    read_request,
)
from service.predictions.endpoint import MANY_ROWS, MEMORY_PER_BYTE
from service.predictions.payloads import LIGHT_BYTES, check_count
from service.routes.dependencies import AppComponents, Components, CurrentCaller
from service.routes.open_inference import ERRORS, Name, Version, find, reference
from service.schemas import named
from service.work.attended import AttendedRequest

router = APIRouter(prefix="/v2", tags=["inference protocol v2"])

HEADER_LENGTH = "Inference-Header-Content-Length"
JsonLength = Annotated[
    int | None,
    Header(
        alias=HEADER_LENGTH,
        description="Length of the JSON at the start of a body with binary tensors.",
    ),
]
ENCODINGS = ("gzip", "deflate")
"""Content encodings of responses, the preferred one first."""
BINARY: dict[str, Any] = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
}
INFER_RESPONSES = ERRORS | {
    200: {"content": {"application/json": {"schema": named(InferResponse)}} | BINARY}
}
INFER_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": named(InferRequest),
            "examples": {
                "a row": {
                    "value": {
                        "inputs": [
                            {
                                "name": INPUT,
                                "shape": [1, 3],
                                "datatype": "FP32",
                                "data": [0.1, 0.2, 0.3],
                            }
                        ]
                    }
                }
            },
        },
        **BINARY,
    },
}


@router.post(
    "/models/{name}/infer",
    response_class=Response,
    responses=INFER_RESPONSES,
    openapi_extra={"requestBody": INFER_BODY},
)
async def infer_model(
    request: Request,
    name: Name,
    components: AppComponents,
    caller: CurrentCaller,
    json_length: JsonLength = None,
) -> Response:
    """Run inference on tensors in JSON or binary format, optionally compressed (gzip, deflate)."""
    return await _infer(request, name, components, caller, json_length)


@router.post(
    "/models/{name}/versions/{version}/infer",
    response_class=Response,
    responses=INFER_RESPONSES,
    openapi_extra={"requestBody": INFER_BODY},
)
async def infer_model_version(
    request: Request,
    name: Name,
    version: Version,
    components: AppComponents,
    caller: CurrentCaller,
    json_length: JsonLength = None,
) -> Response:
    """Run inference by a version of a model."""
    return await _infer(request, reference(name, version), components, caller, json_length)


async def _infer(
    request: Request,
    model_reference: str,
    components: Components,
    caller: Caller,
    json_length: int | None,
) -> Response:
    components.prediction_quotas.check(caller)
    chunks = [chunk async for chunk in request.stream()]
    size = sum(map(len, chunks))
    work, attended = (
        components.work,
        AttendedRequest(request.receive, components.settings.predict_seconds),
    )
    loaded = await find(components, caller, model_reference)
    model, limits = loaded.model, Limits(components.settings.max_rows, loaded.model.row_size)

    def read() -> tuple[InferRequest, Inputs]:
        with decoding("the request", Problem, ClientGone):
            content, length = with_header(joined(chunks), json_length, model)
            infer_request, tensors = read_request(content, length, limits, attended.check)
            return infer_request, inputs_of(model, tensors, infer_request)

    try:
        if size < LIGHT_BYTES:
            infer_request, inputs = read()
        else:
            async with work.memory.hold(MEMORY_PER_BYTE * size, attended):
                infer_request, inputs = await attended.run(work.decode, read)
        check_count(len(inputs), components.settings)
        predictions, _ = await components.model_cache.predict(
            loaded, inputs, request.receive, infer_request.timeout_seconds
        )
        head = {"model_name": loaded.ref.name, "model_version": str(loaded.ref.version)}
        if infer_request.id is not None:
            head["id"] = infer_request.id

        def respond() -> Response:
            encoded = encode(head, outputs_of(model, predictions, infer_request))
            return _response(encoded, request.headers.get("accept-encoding", ""))

        if len(predictions) < MANY_ROWS:
            return respond()
        return await attended.run(work.decode, respond)
    except Invalid as error:
        place = f"row {error.loc[0]} " if error.loc else ""
        raise BadRequest(place + error.msg) from None


def _response(encoded: EncodedResponse, accepted: str) -> Response:
    headers, body = {}, encoded.body
    if encoded.json_length is not None:
        headers[HEADER_LENGTH] = str(encoded.json_length)
    wanted = {token.partition(";")[0].strip() for token in accepted.lower().split(",")}
    if encoding := next((name for name in ENCODINGS if name in wanted), None):
        deflate = zlib.compressobj(wbits=WINDOWS[encoding])
        body = deflate.compress(body) + deflate.flush()
        headers["Content-Encoding"] = encoding
    binary = encoded.json_length is not None
    return Response(
        body, 200, headers, "application/octet-stream" if binary else "application/json"
    )
