"""The application: components, middleware layers and lifespan."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from fastapi import Depends, FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from ml import __version__
from service.access.audit_log import AuditLog
from service.access.audit_reader import AuditReader
from service.access.audit_trail import AuditTrail
from service.access.authenticator import Authenticator
from service.access.bearers import BearerIndex
from service.access.guard import Guard, OwnerOf
from service.access.key_store import KeyStore
from service.access.openapi import with_security
from service.access.rules import Kind, public_paths
from service.access.session_store import SessionStore
from service.access.upkeep import keep_up
from service.background import Background
from service.charts.job_charts import JobCharts
from service.datasets.memory import MemorySlots
from service.datasets.store import DatasetStore
from service.datasets.uploads import DatasetUploader
from service.errors import (
    BadRequest,
    Forbidden,
    HeadTooLarge,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    Unprocessable,
)
from service.expressions.evaluator import ExpressionEvaluator
from service.http.access_log import AccessLog
from service.http.body_budget import BodyBudget
from service.http.body_limit import BodyLimit
from service.http.cors import CrossOrigin
from service.http.document_limit import DocumentLimit
from service.http.head_requests import HeadRequests
from service.http.openapi import for_generators, operation_id
from service.http.problem_json import install, problems
from service.http.proxies import ForwardedHeaders, TrustedProxies
from service.http.query import check_query
from service.http.request_body import RequestBody
from service.http.security_headers import SecurityHeaders
from service.jobs.event_stream import EventStreams
from service.jobs.queue_limits import QueueLimits
from service.jobs.sharing import Sharing
from service.jobs.store import JobStore
from service.metrics import Metrics
from service.models.evaluation import ModelEvaluator
from service.models.files import ModelFiles
from service.models.name_index import NameIndex
from service.models.registry import ModelRegistry
from service.predictions.endpoint import PATH, PredictEndpoint
from service.predictions.model_cache import ModelCache
from service.predictions.payloads import NDJSON, media_type
from service.predictions.prediction_quotas import PredictionQuotas
from service.readiness import ReadinessChecks
from service.routes import (
    access,
    audit,
    charts,
    datasets,
    devices,
    evaluation,
    expressions,
    health,
    jobs,
    metrics,
    models,
    open_inference,
    open_inference_infer,
    predict,
    queue,
    sign_in,
    usage,
)
from service.routes.dependencies import Components
from service.settings import MIB, Settings
from service.settings.quotas import Quotas
from service.storage import data_dir, instance
from service.storage.cleanup import Cleanup
from service.storage.damage import DamageNotes
from service.storage.database import Database
from service.storage.disk_space import DiskSpace
from service.storage.shared_version import SharedVersion
from service.storage.write_probe import WriteProbe
from service.storage.write_turns import WriteTurns
from service.training.device_warnings import DeviceWarnings
from service.training.pool_health import PoolHealth
from service.training.roster import Roster
from service.work import Work
from service.work.executors import run_in

FORM_BYTES = 64 * 1024
STRANGERS_BYTES = 32 * 1024
"""Maximum size of a body that needs no key: that of the form to sign in, with the page to go to."""
ROUTERS = [
    module.router
    for module in (
        jobs,
        datasets,
        models,
        predict,
        open_inference,
        open_inference_infer,
        expressions,
        charts,
        evaluation,
        health,
        metrics,
        queue,
        devices,
        usage,
        access,
        audit,
        sign_in,
    )
]
ANYWHERE = (
    BadRequest,
    Unauthorized,
    Forbidden,
    TooLarge,
    Unprocessable,
    TooManyRequests,
    HeadTooLarge,
    Unavailable,
)
"""Errors with which any request may be answered."""
Running = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Application:
    """The service as an ASGI application, with handles for the server."""

    app: ASGIApp
    """Outermost layer."""
    access_log: AccessLog
    components: Components
    body_budget: BodyBudget
    drain: Callable[[], None]
    """Begins the shutdown: closes live streams and, with the scheduler, drains the trainers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def create_app(settings: Settings) -> Application:
    """Return the whole service. Its components start and stop with its lifespan."""
    background = Background(settings)
    components = _create_components(settings, background.nudge)

    def drain() -> None:
        components.event_streams.close()
        background.drain()

    return _application(components, background.running, drain)


def create_web_app(settings: Settings, nudge: Callable[[], None]) -> Application:
    """Return the web side only. `nudge` notifies the scheduler, in whichever process it runs, that
    a job may be queued."""
    components = _create_components(settings, nudge)
    return _application(components, nullcontext, components.event_streams.close)


def _create_components(settings: Settings, nudge: Callable[[], None]) -> Components:
    database = Database(settings.sqlalchemy_url)
    registry_version = SharedVersion(settings.registry_version_file)
    registry = ModelRegistry(database, settings.models_dir, registry_version)
    model_files = ModelFiles(registry, DamageNotes.of_models(settings))
    name_index = NameIndex(registry, registry_version)
    keys_version = SharedVersion(settings.keys_version_file)
    sees_all = settings.members_see == "all"
    store = JobStore(database, QueueLimits(settings.max_queued, Quotas(settings.quotas)))
    disk_space = DiskSpace(settings)
    dataset_store = DatasetStore(database, settings)
    service_metrics, memory_slots, write_turns = Metrics(), MemorySlots(), WriteTurns()
    work = Work(settings.max_decoding_mb * MIB, settings.max_image_pixels)
    return Components(
        settings=settings,
        database=database,
        keys=KeyStore(database, keys_version),
        sessions=SessionStore(database, keys_version, settings.session_hours),
        authenticator=Authenticator(
            BearerIndex(database, keys_version, sees_all=sees_all),
            open_without_keys=settings.is_local or settings.insecure,
        ),
        audit_trail=AuditTrail(AuditLog.of(settings)),
        audit_reader=AuditReader(settings.audit_file),
        jobs=store,
        sharing=Sharing(database, settings),
        roster=Roster(settings.roster_file),
        datasets=dataset_store,
        uploader=DatasetUploader(dataset_store, settings, work, write_turns, disk_space),
        registry=registry,
        model_files=model_files,
        model_cache=ModelCache(name_index, model_files, settings, service_metrics),
        prediction_quotas=PredictionQuotas(settings),
        evaluator=ModelEvaluator(model_files, settings, memory_slots),
        memory_slots=memory_slots,
        charts=JobCharts(store, model_files),
        event_streams=EventStreams(store),
        cleanup=Cleanup(database, settings),
        expressions=ExpressionEvaluator(),
        metrics=service_metrics,
        readiness=_readiness(settings, database, disk_space, model_files, dataset_store),
        write_turns=write_turns,
        disk_space=disk_space,
        work=work,
        nudge=nudge,
    )


def _readiness(
    settings: Settings,
    database: Database,
    disk_space: DiskSpace,
    model_files: ModelFiles,
    datasets: DatasetStore,
) -> ReadinessChecks:
    return ReadinessChecks(
        [
            WriteProbe(database).findings,
            partial(data_dir.findings, settings.data_dir),
            disk_space.findings,
            partial(instance.findings, settings.data_warning_file),
            DeviceWarnings(settings.warnings_file).findings,
            PoolHealth(settings.pool_health_file).findings,
            model_files.findings,
            datasets.findings,
        ]
    )


def _application(
    components: Components, background: Running, drain: Callable[[], None]
) -> Application:
    settings = components.settings
    budget = BodyBudget(max(settings.max_bodies_mb * MIB, settings.max_body_bytes))
    access_log = AccessLog(_layers(components, background, budget), components.metrics)
    app: ASGIApp = access_log
    if settings.trusted_proxies:
        app = ForwardedHeaders(app, TrustedProxies(settings.trusted_proxies))
    return Application(app, access_log, components, budget, drain)


def _layers(components: Components, background: Running, budget: BodyBudget) -> ASGIApp:
    """Return the middleware layers below the access log, down to the routes."""
    settings = components.settings
    app: ASGIApp = BodyLimit(
        DocumentLimit(_create_api(components, background), _is_data),
        limit=settings.max_body_bytes,
        # A form is slightly larger than its file, which has a limit of its own.
        path_limits={
            "/datasets": settings.max_upload_bytes + FORM_BYTES,
            # Else strangers could fill the memory for bodies, and keep others waiting.
            **dict.fromkeys(public_paths(), STRANGERS_BYTES),
        },
    )
    app = PredictEndpoint(
        app, components.model_cache, components.prediction_quotas, settings, components.work
    )
    app = RequestBody(app, budget, partial(run_in, components.work.decode), _is_spooled)
    guard = Guard(app, components.authenticator, _owners(components), components.audit_trail)
    app = HeadRequests(guard)
    if settings.cors_origins:
        app = CrossOrigin(app, settings.cors_origins)
    return SecurityHeaders(app)


def _owners(components: Components) -> dict[Kind, OwnerOf]:
    return {
        "job": components.jobs.owner,
        "dataset": components.datasets.owner,
        "model": components.registry.owner,
    }


def _is_spooled(scope: Scope) -> bool:
    """Return whether the body of a request is written to disk as it is read."""
    path: str = scope["path"]
    return path == "/datasets" or (path == PATH and media_type(scope) == NDJSON)


def _is_data(scope: Scope) -> bool:
    """Return whether a request's body holds data, with a limit of its own."""
    path: str = scope["path"]
    return path == "/datasets" or (path.startswith("/v2/") and path.endswith("/infer"))


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = with_security(for_generators(super().openapi()))
        return self.openapi_schema


def _create_api(components: Components, background: Running) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Components]]:
        # `asyncio.to_thread` is for the service's own work: scheduler and database.
        asyncio.get_running_loop().set_default_executor(components.work.control)
        async with background():
            upkeep = asyncio.create_task(keep_up(components.authenticator, components.keys))
            with _running(components):
                yield {"components": components}
            upkeep.cancel()
            await asyncio.gather(upkeep, return_exceptions=True)

    api = _Api(
        title="epochd",
        version=__version__,
        description="Train and serve PyTorch models over HTTP.",
        lifespan=lifespan,
        responses=problems(*ANYWHERE),
        dependencies=[Depends(check_query)],
        generate_unique_id_function=operation_id,
    )
    for router in ROUTERS:
        api.include_router(router)
    install(api)
    return api


@contextmanager
def _running(components: Components) -> Iterator[None]:
    # The cores are left to the trainers.
    torch.set_num_threads(1)
    try:
        yield
    finally:
        components.event_streams.close()
        components.model_cache.close()
        components.expressions.close()
        components.charts.close()
        components.work.close()
        components.database.close()
