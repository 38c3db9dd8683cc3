"""Routes of the Open Inference Protocol v2, for clients of KServe and Triton.

Errors have the protocol's format, see `service.http.problem_json`.
"""

from asyncio import to_thread
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from ml import __version__
from ml.errors import Invalid
from service.access.caller import Caller
from service.errors import BadRequest, Unloaded
from service.open_inference.model_io import Described, describe
from service.open_inference.schemas import (
    IndexEntry,
    ModelConfig,
    ModelMetadata,
    ModelReady,
    ProtocolError,
    ServerLive,
    ServerMetadata,
    ServerReady,
    TensorConfig,
    TensorMetadata,
)
from service.open_inference.statistics import model_statistics
from service.open_inference.wire import (
    IndexRequest,
    read_json,
)
from service.predictions.model_cache import LoadedModel
from service.routes.dependencies import (
    WRITES,
    AppComponents,
    Components,
    CurrentCaller,
    OptionalCaller,
)
from service.routes.health import warnings_for
from service.routes.parameters import ModelName
from service.schemas import ModelRef, named

router = APIRouter(prefix="/v2", tags=["inference protocol v2"])

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "statistics",
]
PLATFORM = "epochd_pytorch"

Name = Annotated[str, Path(description="`name`, or `name@alias`.")]
Version = Annotated[str, Path(pattern=r"^[1-9]\d{0,8}$", description="Number of the version.")]
Document = dict[str, Any]
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": "Error message.",
        "content": {"application/json": {"schema": named(ProtocolError)}},
    }
    for status in (400, 401, 403, 404, 409, 413, 422, 429, 503, 504)
}
INDEX_BODY = {
    "content": {
        "application/json": {
            "schema": named(IndexRequest),
            "examples": {"ready models": {"value": {"ready": True}}},
        }
    }
}


@router.get("")
def get_server_metadata() -> ServerMetadata:
    """Return the server's name, version and extensions."""
    return ServerMetadata(name="epochd", version=__version__, extensions=EXTENSIONS)


@router.get("/health/live")
async def check_server_live() -> ServerLive:
    """Check that the process responds."""
    return ServerLive(live=True)


@router.get("/health/ready", responses=ERRORS)
def check_server_ready(components: AppComponents, caller: OptionalCaller) -> ServerReady:
    """Check that the database responds."""
    warnings_for(caller, components)
    return ServerReady(ready=True)


@router.get("/models/stats")
async def get_statistics(components: AppComponents, caller: CurrentCaller) -> Document:
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
async def get_model_metadata(
    name: Name, components: AppComponents, caller: CurrentCaller
) -> ModelMetadata:
    """Return a model's versions, inputs and outputs; -1 is the batch dimension."""
    return await _metadata(components, caller, name)


@router.get("/models/{name}/versions/{version}", responses=ERRORS)
async def get_model_version_metadata(
    name: Name, version: Version, components: AppComponents, caller: CurrentCaller
) -> ModelMetadata:
    """Return a version of a model as its metadata, with its inputs and outputs."""
    return await _metadata(components, caller, reference(name, version))


async def _metadata(components: Components, caller: Caller, model_reference: str) -> ModelMetadata:
    loaded = await find(components, caller, model_reference)
    entries = await components.model_cache.name_index.entries()
    inputs, outputs = describe(loaded.model)
    return ModelMetadata(
        name=loaded.ref.name,
        versions=[str(number) for number in entries[loaded.ref.name].directories],
        platform=PLATFORM,
        inputs=[TensorMetadata(name=n, datatype=d, shape=[-1, *s]) for n, d, s in inputs],
        outputs=[TensorMetadata(name=n, datatype=d, shape=[-1, *s]) for n, d, s in outputs],
    )


@router.get("/models/{name}/ready", responses=ERRORS)
async def check_model_ready(
    name: Name, components: AppComponents, caller: CurrentCaller
) -> ModelReady:
    """Check that the model accepts requests; it is read into memory on the first one. A model that
    is unloaded, or whose files are damaged, is not ready."""
    return await _ready(components, caller, name)


@router.get("/models/{name}/versions/{version}/ready", responses=ERRORS)
async def check_model_version_ready(
    name: Name, version: Version, components: AppComponents, caller: CurrentCaller
) -> ModelReady:
    """Check that a version of a model accepts requests."""
    return await _ready(components, caller, reference(name, version))


async def _ready(components: Components, caller: Caller, model_reference: str) -> ModelReady:
    resolved = await components.model_cache.name_index.resolve(model_reference, caller)
    if components.model_cache.get_loaded(model_reference, caller) is None:
        await to_thread(components.model_files.check, resolved.ref.name, resolved.ref.version)
    return ModelReady(name=resolved.ref.name, ready=True)


@router.get("/models/{name}/config", responses=ERRORS)
async def get_model_config(
    name: Name, components: AppComponents, caller: CurrentCaller
) -> ModelConfig:
    """Return the model's configuration in Triton's format."""
    return await _config(components, caller, name)


@router.get("/models/{name}/versions/{version}/config", responses=ERRORS)
async def get_model_version_config(
    name: Name, version: Version, components: AppComponents, caller: CurrentCaller
) -> ModelConfig:
    """Return a version's configuration in Triton's format."""
    return await _config(components, caller, reference(name, version))


async def _config(components: Components, caller: Caller, model_reference: str) -> ModelConfig:
    loaded = await find(components, caller, model_reference)

    def tensors(described: Described) -> list[TensorConfig]:
        kinds = {"BYTES": "STRING"}
        return [
            TensorConfig(name=n, data_type=f"TYPE_{kinds.get(d, d)}", dims=s or [1])
            for n, d, s in described
        ]

    inputs, outputs = describe(loaded.model)
    return ModelConfig(
        name=loaded.ref.name,
        platform=PLATFORM,
        backend="epochd",
        max_batch_size=components.settings.max_rows,
        input=tensors(inputs),
        output=tensors(outputs),
    )


@router.get("/models/{name}/stats", responses=ERRORS)
async def get_model_statistics(
    name: Name, components: AppComponents, caller: CurrentCaller
) -> Document:
    """Return the statistics of a version: request counts and durations."""
    return await _version_statistics(components, caller, name)


@router.get("/models/{name}/versions/{version}/stats", responses=ERRORS)
async def get_model_version_statistics(
    name: Name, version: Version, components: AppComponents, caller: CurrentCaller
) -> Document:
    """Return the statistics of a version: request counts and durations."""
    return await _version_statistics(components, caller, reference(name, version))


async def _version_statistics(
    components: Components, caller: Caller, model_reference: str
) -> Document:
    resolved = await components.model_cache.name_index.resolve(model_reference, caller)
    return await _statistics(components, [resolved.ref])


@router.post("/repository/index", responses=ERRORS, openapi_extra={"requestBody": INDEX_BODY})
async def index_repository(
    request: Request, components: AppComponents, caller: CurrentCaller
) -> list[IndexEntry]:
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
                    IndexEntry(name=name, version=str(version), state=state, reason=reason)
                )
    return index


@router.post("/repository/models/{name}/load", responses=ERRORS, dependencies=WRITES)
async def load_model(name: Name, components: AppComponents, caller: CurrentCaller) -> Document:
    """Load all versions of an unloaded model again, and read the named one into memory, as its
    first request would."""
    try:
        await find(components, caller, name)
    except Unloaded:
        await to_thread(components.registry.load, name.partition("@")[0])
        await find(components, caller, name)
    return {}


@router.post("/repository/models/{name}/unload", responses=ERRORS, dependencies=WRITES)
async def unload_model(name: ModelName, components: AppComponents) -> Document:
    """Unload all versions of a model, here and at `/predict`, until it is loaded again; this
    includes versions trained in the meantime. Requests in progress are completed."""
    await to_thread(components.registry.unload, name)
    # This process frees the memory now, others on their next request.
    await components.model_cache.refresh()
    return {}


def reference(name: str, version: str) -> str:
    """Return what `/predict` calls a version of a model."""
    return f"{name}@{version}"


async def _statistics(components: Components, versions: list[ModelRef]) -> Document:
    # In a thread, since with several processes it reads their metric files.
    statistics = await to_thread(model_statistics, components.metrics.registry(), versions)
    return {"model_stats": statistics}


async def find(components: Components, caller: Caller, model_reference: str) -> LoadedModel:
    """Return a model that `caller` may use, loaded.

    Raises:
        NotFound: there is none.
        Unloaded: it is unloaded.
    """
    return await components.model_cache.find(model_reference, caller)
