"""The application: its parts, its layers, its lifespan."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass

import torch
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from ml import __version__
from service.background import Background
from service.charts.job_charts import Charts
from service.datasets.memory import Loading
from service.datasets.store import DatasetStore
from service.datasets.uploads import Uploading
from service.errors import BadRequest, TooLarge, Unprocessable
from service.expressions.evaluator import Expressions
from service.http.access_log import Access
from service.http.body_limit import BodyLimit
from service.http.problem_json import install, problems
from service.jobs.event_stream import Feeds
from service.jobs.store import JobStore
from service.metrics import Telemetry
from service.models.evaluation import Evaluator
from service.models.name_index import Catalog
from service.models.registry import ModelRegistry
from service.models.revision import Revision
from service.predictions.endpoint import Predictions
from service.predictions.model_cache import Predictor
from service.routes import (
    charts,
    datasets,
    evaluation,
    expressions,
    health,
    jobs,
    metrics,
    models,
    open_inference,
    predict,
)
from service.routes.dependencies import Parts
from service.settings import Settings
from service.storage.cleanup import Retention
from service.storage.database import Database

FORM_BYTES = 64 * 1024
ROUTERS = [
    module.router
    for module in (
        jobs,
        datasets,
        models,
        predict,
        open_inference,
        expressions,
        charts,
        evaluation,
        health,
        metrics,
    )
]
Running = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Application:
    """The service as an ASGI application, and the handles that a server needs besides."""

    access: Access
    """The outermost layer."""
    parts: Parts
    drain: Callable[[], None]
    """Begins to stop: ends live streams, and has running jobs saved."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self.access(scope, receive, send)


def create_app(settings: Settings) -> Application:
    """Return the whole service. Its parts start and stop with its lifespan."""
    background = Background(settings)
    parts = _create_parts(settings, background.nudge)

    def drain() -> None:
        parts.feeds.close()
        background.drain()

    return Application(_layers(parts, background.running), parts, drain)


def create_web_app(settings: Settings, nudge: Callable[[], None]) -> Application:
    """Return the web side alone. `nudge` tells the scheduler, wherever it runs, that a job may be
    waiting."""
    parts = _create_parts(settings, nudge)
    return Application(_layers(parts, nullcontext), parts, parts.feeds.close)


def _create_parts(settings: Settings, nudge: Callable[[], None]) -> Parts:
    database = Database(settings.sqlalchemy_url)
    revision = Revision(settings.revision_file)
    registry = ModelRegistry(database, settings.models_dir, revision)
    store = JobStore(database)
    dataset_store = DatasetStore(database, settings)
    telemetry, loading = Telemetry(), Loading()
    return Parts(
        settings=settings,
        database=database,
        jobs=store,
        datasets=dataset_store,
        uploading=Uploading(dataset_store, settings),
        registry=registry,
        predictor=Predictor(Catalog(registry, revision), settings, telemetry),
        evaluator=Evaluator(registry, settings, loading),
        loading=loading,
        charts=Charts(store, registry),
        feeds=Feeds(store),
        retention=Retention(database, settings),
        expressions=Expressions(),
        telemetry=telemetry,
        nudge=nudge,
    )


def _layers(parts: Parts, background: Running) -> Access:
    """Return what a request passes, from the outermost layer to the routes."""
    settings = parts.settings
    limited = BodyLimit(
        _create_api(parts, background),
        limit=settings.max_body_bytes,
        # A form is a little more than the file in it, which is counted on its own.
        own={"/datasets": settings.max_upload_bytes + FORM_BYTES},
    )
    return Access(Predictions(limited, parts.predictor, settings), parts.telemetry)


def _create_api(parts: Parts, background: Running) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Parts]]:
        async with background():
            with _running(parts):
                yield {"parts": parts}

    api = FastAPI(
        title="epochd",
        version=__version__,
        description="Train and serve PyTorch models over HTTP.",
        lifespan=lifespan,
        responses=problems(BadRequest, TooLarge, Unprocessable),
    )
    for router in ROUTERS:
        api.include_router(router)
    install(api)
    return api


@contextmanager
def _running(parts: Parts) -> Iterator[None]:
    # The cores belong to the trainers.
    torch.set_num_threads(1)
    try:
        yield
    finally:
        parts.feeds.close()
        parts.predictor.close()
        parts.expressions.close()
        parts.charts.close()
        parts.database.close()
