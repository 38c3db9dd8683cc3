"""Routes of the Open Inference Protocol v2, for clients of KServe and Triton.

Errors have the protocol's format, see `service.http.problem_json`.
"""

import zlib
from asyncio import to_thread
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response

from ml import __version__
from ml.decoding import decoding
from ml.errors import Invalid
from ml.inference.model import Inputs
from service.access.caller import Caller
from service.errors import BadRequest, ClientGone, Problem, Unloaded
from service.http.body_limit import joined
from service.http.request_body import WINDOWS
from service.open_inference.model_io import INPUT, Described, describe, inputs_of, outputs_of
from service.open_inference.raw import with_header
from service.open_inference.statistics import model_statistics
from service.open_inference.wire import (
    EncodedResponse,
    IndexRequest,
    InferRequest,
    Limits,
    encode,
    read_json,
    read_request,
)
from service.predictions.endpoint import MANY_ROWS, MEMORY_PER_BYTE
from service.predictions.model_cache import LoadedModel
from service.predictions.payloads import LIGHT_BYTES, check_count
from service.routes.dependencies import (
    WRITES,
    AppComponents,
    Components,
    CurrentCaller,
    OptionalCaller,
)
from service.routes.health import warnings_for
from service.schemas import ModelRef, self_contained
from service.work.attended import AttendedRequest

router = APIRouter(prefix="/v2", tags=["inference protocol v2"])

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "statistics",
]
PLATFORM = "epochd_pytorch"
HEADER_LENGTH = "Inference-Header-Content-Length"
ENCODINGS = ("gzip", "deflate")
"""Content encodings of responses, the preferred one first."""
"""zlib's `wbits` for each content encoding."""

Name = Annotated[str, Path(description="`name`, or `name@alias`.")]
Version = Annotated[str, Path(pattern=r"^[1-9]\d{0,8}$")]
Document = dict[str, Any]
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": "Error message.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"error": {"type": "string"}},
                    "required": ["error"],
                }
            }
        },
    }
    for status in (400, 401, 403, 404, 409, 413, 422, 429, 503, 504)
}
BINARY: dict[str, Any] = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
}
INFER_RESPONSES = ERRORS | {200: {"content": BINARY}}
INFER_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": self_contained(InferRequest),
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
INDEX_BODY = {
    "content": {
        "application/json": {
            "schema": self_contained(IndexRequest),
            "examples": {"ready models": {"value": {"ready": True}}},
        }
    }
}


@router.get("")
def server_metadata() -> Document:
    """Return the server's name, version and extensions."""
    return {"name": "epochd", "version": __version__, "extensions": EXTENSIONS}


@router.get("/health/live")
async def live() -> Document:
    """Check that the process responds."""
    return {"live": True}


@router.get("/health/ready", responses=ERRORS)
def ready(components: AppComponents, caller: OptionalCaller) -> Document:
    """Check that the database responds."""
    warnings_for(caller, components)
    return {"ready": True}


@router.get("/models/stats")
async def all_statistics(components: AppComponents, caller: CurrentCaller) -> Document:
    """Return the statistics of every version of every loaded model."""
    entries = await components.model_cache.name_index.entries_for(caller)
    return await _statistics(
        components,
        [
            ModelRef(name=name, version=version)
            for name, entry in entries.items()
            if not entry.unloaded
            for version in entry.directories
        ],
    )


@router.get("/models/{name}", responses=ERRORS)
@router.get("/models/{name}/versions/{version}", responses=ERRORS)
async def model_metadata(
    name: Name, components: AppComponents, caller: CurrentCaller, version: Version | None = None
) -> Document:
    """Return a model's versions, inputs and outputs; -1 is the batch dimension."""
    loaded = await _find(components, caller, name, version)
    entries = await components.model_cache.name_index.entries()
    inputs, outputs = describe(loaded.model)
    return {
        "name": loaded.ref.name,
        "versions": [str(number) for number in entries[loaded.ref.name].directories],
        "platform": PLATFORM,
        "inputs": [{"name": n, "datatype": d, "shape": [-1, *s]} for n, d, s in inputs],
        "outputs": [{"name": n, "datatype": d, "shape": [-1, *s]} for n, d, s in outputs],
    }


@router.get("/models/{name}/ready", responses=ERRORS)
@router.get("/models/{name}/versions/{version}/ready", responses=ERRORS)
async def model_ready(
    name: Name, components: AppComponents, caller: CurrentCaller, version: Version | None = None
) -> Document:
    """Check that the model accepts requests; it is read into memory on the first one. A model that
    is unloaded, or whose files are damaged, is not ready."""
    reference = _reference(name, version)
    resolved = await components.model_cache.name_index.resolve(reference, caller)
    if components.model_cache.get_loaded(reference, caller) is None:
        await to_thread(components.model_files.check, resolved.ref.name, resolved.ref.version)
    return {"name": resolved.ref.name, "ready": True}


@router.get("/models/{name}/config", responses=ERRORS)
@router.get("/models/{name}/versions/{version}/config", responses=ERRORS)
async def model_config(
    name: Name, components: AppComponents, caller: CurrentCaller, version: Version | None = None
) -> Document:
    """Return the model's configuration in Triton's format."""
    loaded = await _find(components, caller, name, version)

    def tensors(described: Described) -> list[Document]:
        return [
            {"name": n, "data_type": f"TYPE_{'STRING' if d == 'BYTES' else d}", "dims": s or [1]}
            for n, d, s in described
        ]

    inputs, outputs = describe(loaded.model)
    return {
        "name": loaded.ref.name,
        "platform": PLATFORM,
        "backend": "epochd",
        "max_batch_size": components.settings.max_rows,
        "input": tensors(inputs),
        "output": tensors(outputs),
    }


@router.get("/models/{name}/stats", responses=ERRORS)
@router.get("/models/{name}/versions/{version}/stats", responses=ERRORS)
async def statistics(
    name: Name, components: AppComponents, caller: CurrentCaller, version: Version | None = None
) -> Document:
    """Return the statistics of a version: request counts and durations."""
    resolved = await components.model_cache.name_index.resolve(_reference(name, version), caller)
    return await _statistics(components, [resolved.ref])


@router.post("/repository/index", responses=ERRORS, openapi_extra={"requestBody": INDEX_BODY})
async def repository_index(
    request: Request, components: AppComponents, caller: CurrentCaller
) -> list[Document]:
    """List every version of every model with its state."""
    try:
        index_request = read_json(IndexRequest, await request.body() or b"{}")
    except Invalid as error:
        raise BadRequest(error.msg) from None
    entries = await components.model_cache.name_index.entries_for(caller)
    damage = await to_thread(components.model_files.known_unservable)
    index = []
    for name, entry in entries.items():
        for version, directory in entry.directories.items():
            reason = "unloaded" if entry.unloaded else damage.get(directory, "")
            if not (index_request.ready and reason):
                state = "UNAVAILABLE" if reason else "READY"
                index.append(
                    {"name": name, "version": str(version), "state": state, "reason": reason}
                )
    return index


@router.post("/repository/models/{name}/load", responses=ERRORS, dependencies=WRITES)
async def load(name: Name, components: AppComponents, caller: CurrentCaller) -> Document:
    """Load all versions of an unloaded model again, and read the named one into memory, as its
    first request would."""
    try:
        await _find(components, caller, name, None)
    except Unloaded:
        await to_thread(components.registry.load, name.partition("@")[0])
        await _find(components, caller, name, None)
    return {}


@router.post("/repository/models/{name}/unload", responses=ERRORS, dependencies=WRITES)
async def unload(name: str, components: AppComponents) -> Document:
    """Unload all versions of a model, here and at `/predict`, until it is loaded again; this
    includes versions trained in the meantime. Requests in progress are completed."""
    await to_thread(components.registry.unload, name)
    # This process frees the memory now, others on their next request.
    await components.model_cache.refresh()
    return {}


@router.post(
    "/models/{name}/infer",
    responses=INFER_RESPONSES,
    openapi_extra={"requestBody": INFER_BODY},
)
@router.post(
    "/models/{name}/versions/{version}/infer",
    responses=INFER_RESPONSES,
    openapi_extra={"requestBody": INFER_BODY},
)
async def infer(
    request: Request,
    name: Name,
    components: AppComponents,
    caller: CurrentCaller,
    version: Version | None = None,
    json_length: Annotated[int | None, Header(alias=HEADER_LENGTH)] = None,
) -> Document:
    """Run inference on tensors in JSON or binary format, optionally compressed (gzip, deflate)."""
    components.prediction_quotas.check(caller)
    chunks = [chunk async for chunk in request.stream()]
    size = sum(map(len, chunks))
    work, attended = (
        components.work,
        AttendedRequest(request.receive, components.settings.predict_seconds),
    )
    loaded = await _find(components, caller, name, version)
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
            return respond()  # type: ignore[return-value]
        return await attended.run(work.decode, respond)  # type: ignore[arg-type]
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


def _reference(name: str, version: str | None) -> str:
    return f"{name}@{version}" if version else name


async def _statistics(components: Components, versions: list[ModelRef]) -> Document:
    # In a thread, since with several processes it reads their metric files.
    statistics = await to_thread(model_statistics, components.metrics.registry(), versions)
    return {"model_stats": statistics}


async def _find(
    components: Components, caller: Caller, name: str, version: str | None
) -> LoadedModel:
    return await components.model_cache.find(_reference(name, version), caller)
