"""The Open Inference Protocol v2, as the clients of KServe and Triton speak it.

Errors have the protocol's own form here, see `service.http.problem_json`.
"""

import zlib
from asyncio import to_thread
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response

from ml import __version__
from ml.errors import Invalid
from service.errors import BadRequest, Unloaded
from service.open_inference.model_io import INPUT, Described, described, inputs_of, outputs_of
from service.open_inference.statistics import model_statistics
from service.open_inference.wire import (
    Encoded,
    IndexRequest,
    InferRequest,
    encode,
    read_json,
    read_request,
)
from service.predictions.model_cache import Loaded
from service.predictions.payloads import check_count
from service.routes.dependencies import Parts, Service
from service.schemas import ModelRef, self_contained

router = APIRouter(prefix="/v2", tags=["inference protocol v2"])

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "statistics",
]
PLATFORM = "epochd_pytorch"
STATES = {
    False: {"state": "READY", "reason": ""},
    True: {"state": "UNAVAILABLE", "reason": "unloaded"},
}
"""By whether a model was unloaded."""
HEADER_LENGTH = "Inference-Header-Content-Length"
WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""zlib's name for each kind of compression."""

Name = Annotated[str, Path(description="`name`, or `name@alias`.")]
Version = Annotated[str, Path(pattern=r"^[1-9]\d{0,8}$")]
Document = dict[str, Any]
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": "What was wrong, in one sentence.",
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
    for status in (400, 404, 409, 413, 422, 503, 504)
}
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
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}
INDEX_BODY = {
    "content": {
        "application/json": {
            "schema": self_contained(IndexRequest),
            "examples": {"what can be asked": {"value": {"ready": True}}},
        }
    }
}


@router.get("")
def server_metadata() -> Document:
    """The server's name, its version and the extensions it has."""
    return {"name": "epochd", "version": __version__, "extensions": EXTENSIONS}


@router.get("/health/live")
async def live() -> Document:
    """The process answers."""
    return {"live": True}


@router.get("/health/ready", responses=ERRORS)
def ready(service: Service) -> Document:
    """The database answers too."""
    service.database.ping()
    return {"ready": True}


@router.get("/models/stats")
async def all_statistics(service: Service) -> Document:
    """Counts and times of every version of every model that is not unloaded."""
    entries = await service.predictor.catalog.entries()
    return await _statistics(
        service,
        [
            ModelRef(name=name, version=version)
            for name, entry in entries.items()
            if not entry.unloaded
            for version in entry.directories
        ],
    )


@router.get("/models/{name}", responses=ERRORS)
@router.get("/models/{name}/versions/{version}", responses=ERRORS)
async def model_metadata(name: Name, service: Service, version: Version | None = None) -> Document:
    """A model's versions, inputs and outputs; -1 is the dimension of the rows."""
    loaded = await _find(service, name, version)
    entries = await service.predictor.catalog.entries()
    inputs, outputs = described(loaded.model)
    return {
        "name": loaded.ref.name,
        "versions": [str(number) for number in entries[loaded.ref.name].directories],
        "platform": PLATFORM,
        "inputs": [{"name": n, "datatype": d, "shape": [-1, *s]} for n, d, s in inputs],
        "outputs": [{"name": n, "datatype": d, "shape": [-1, *s]} for n, d, s in outputs],
    }


@router.get("/models/{name}/ready", responses=ERRORS)
@router.get("/models/{name}/versions/{version}/ready", responses=ERRORS)
async def model_ready(name: Name, service: Service, version: Version | None = None) -> Document:
    """The model can be asked: it is in memory, or will be when it is. One that was unloaded is
    not ready."""
    located = await service.predictor.catalog.resolve(_reference(name, version))
    return {"name": located.ref.name, "ready": True}


@router.get("/models/{name}/config", responses=ERRORS)
@router.get("/models/{name}/versions/{version}/config", responses=ERRORS)
async def model_config(name: Name, service: Service, version: Version | None = None) -> Document:
    """The model's configuration in Triton's terms."""
    loaded = await _find(service, name, version)

    def tensors(described: Described) -> list[Document]:
        return [
            {"name": n, "data_type": f"TYPE_{'STRING' if d == 'BYTES' else d}", "dims": s or [1]}
            for n, d, s in described
        ]

    inputs, outputs = described(loaded.model)
    return {
        "name": loaded.ref.name,
        "platform": PLATFORM,
        "backend": "epochd",
        "max_batch_size": service.settings.max_rows,
        "input": tensors(inputs),
        "output": tensors(outputs),
    }


@router.get("/models/{name}/stats", responses=ERRORS)
@router.get("/models/{name}/versions/{version}/stats", responses=ERRORS)
async def statistics(name: Name, service: Service, version: Version | None = None) -> Document:
    """Counts and times of a version."""
    located = await service.predictor.catalog.resolve(_reference(name, version))
    return await _statistics(service, [located.ref])


@router.post("/repository/index", responses=ERRORS, openapi_extra={"requestBody": INDEX_BODY})
async def repository_index(request: Request, service: Service) -> list[Document]:
    """Every version of every model, and whether it can be asked."""
    try:
        asked = read_json(IndexRequest, await request.body() or b"{}")
    except Invalid as error:
        raise BadRequest(error.msg) from None
    entries = await service.predictor.catalog.entries()
    return [
        {"name": name, "version": str(version)} | STATES[entry.unloaded]
        for name, entry in entries.items()
        if not (asked.ready and entry.unloaded)
        for version in entry.directories
    ]


@router.post("/repository/models/{name}/load", responses=ERRORS)
async def load(name: Name, service: Service) -> Document:
    """Have a model answer again that was unloaded, all its versions, and bring the one that is
    named into memory, as its first request would."""
    try:
        await _find(service, name, None)
    except Unloaded:
        await to_thread(service.registry.load, name.partition("@")[0])
        await _find(service, name, None)
    return {}


@router.post("/repository/models/{name}/unload", responses=ERRORS)
async def unload(name: str, service: Service) -> Document:
    """Have no version of a model answer, here and at `/predict`, until it is loaded; versions that
    are trained meanwhile wait with it. Requests under way are answered."""
    await to_thread(service.registry.unload, name)
    # This process lets go of the memory now, others when they are asked anything.
    await service.predictor.refresh()
    return {}


@router.post("/models/{name}/infer", responses=ERRORS, openapi_extra={"requestBody": INFER_BODY})
@router.post(
    "/models/{name}/versions/{version}/infer",
    responses=ERRORS,
    openapi_extra={"requestBody": INFER_BODY},
)
async def infer(
    request: Request,
    name: Name,
    service: Service,
    version: Version | None = None,
    json_length: Annotated[int | None, Header(alias=HEADER_LENGTH)] = None,
) -> Document:
    """Tensors in, tensors out, in JSON or binary, gzipped and deflated where asked."""
    body = await request.body()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        body = await to_thread(_inflated, body, encoding, service.settings.max_body_bytes)
    loaded = await _find(service, name, version)
    try:
        asked, tensors = read_request(body, json_length)
        inputs = inputs_of(loaded.model, tensors, asked)
        check_count(len(inputs), service.settings)
        answers = await service.predictor.answer(
            loaded, inputs, request.receive, asked.timeout_seconds
        )
        encoded = encode(
            {"model_name": loaded.ref.name, "model_version": str(loaded.ref.version)}
            | ({"id": asked.id} if asked.id is not None else {}),
            outputs_of(loaded.model, answers, asked),
        )
    except Invalid as error:
        place = f"row {error.loc[0]} " if error.loc else ""
        raise BadRequest(place + error.msg) from None
    return _response(encoded, request.headers.get("accept-encoding", ""))  # type: ignore[return-value]


def _response(encoded: Encoded, accepted: str) -> Response:
    headers, body = {}, encoded.body
    if encoded.json_length is not None:
        headers[HEADER_LENGTH] = str(encoded.json_length)
    wanted = {token.partition(";")[0].strip() for token in accepted.lower().split(",")}
    if encoding := next((name for name in WINDOWS if name in wanted), None):
        deflate = zlib.compressobj(wbits=WINDOWS[encoding])
        body = deflate.compress(body) + deflate.flush()
        headers["Content-Encoding"] = encoding
    binary = encoded.json_length is not None
    return Response(
        body, 200, headers, "application/octet-stream" if binary else "application/json"
    )


def _inflated(body: bytes, encoding: str, limit: int) -> bytes:
    if encoding not in WINDOWS:
        raise BadRequest(f"the content encoding must be gzip or deflate, not {encoding}")
    inflate = zlib.decompressobj(WINDOWS[encoding])
    try:
        plain = inflate.decompress(body, limit + 1)
    except zlib.error as error:
        raise BadRequest(f"the body is not {encoding}: {error}") from None
    if len(plain) > limit:
        raise BadRequest(f"the body inflates to more than the limit of {limit:,} bytes")
    if not inflate.eof:
        raise BadRequest(f"the body's {encoding} is cut off")
    return plain


def _reference(name: str, version: str | None) -> str:
    return f"{name}@{version}" if version else name


async def _statistics(service: Parts, versions: list[ModelRef]) -> Document:
    # In a thread: with several processes it reads their files.
    told = await to_thread(model_statistics, service.telemetry.registry(), versions)
    return {"model_stats": told}


async def _find(service: Parts, name: str, version: str | None) -> Loaded:
    return await service.predictor.find(_reference(name, version))
