"""The application: its parts, its routes, its life."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import torch
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

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
from service.server.fast_path.express import Express
from service.settings import Settings
from service.storage.cleanup import Retention
from service.storage.database import Database

FORM_BYTES = 64 * 1024


class Service(FastAPI):
    """FastAPI, with what sees a request first in front of all its middleware."""

    front: ASGIApp
    express: Express

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self.front(scope, receive, send)


def create_app(settings: Settings) -> Service:
    """Return the whole service as an ASGI application. Its parts start and stop with its
    lifespan."""
    background = Background(settings)
    app = create_web_app(settings, background.nudge)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await background.start()
        try:
            async with _web_lifespan(app):
                yield
        finally:
            await background.stop()

    app.router.lifespan_context = lifespan
    app.state.background = background
    return app


def create_web_app(settings: Settings, nudge: Callable[[], None]) -> Service:
    """Return the web side alone. `nudge` tells the scheduler, wherever it runs, that a job may be
    waiting."""
    app = Service(
        title="epochd",
        version=__version__,
        description="Train and serve PyTorch models over HTTP.",
        lifespan=_web_lifespan,
        responses=problems(BadRequest, TooLarge, Unprocessable),
    )
    database = Database(settings.sqlalchemy_url)
    revision = Revision(settings.revision_file)
    registry = ModelRegistry(database, settings.models_dir, revision)
    store = JobStore(database)
    dataset_store = DatasetStore(database, settings)
    telemetry, loading = Telemetry(), Loading()
    parts = Parts(
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
    app.state.parts = parts
    for room in (
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
    ):
        app.include_router(room.router)
    install(app)
    app.add_middleware(
        BodyLimit,
        limit=settings.max_body_bytes,
        # A form is a little more than the file in it, which is counted on its own.
        own={"/datasets": settings.max_upload_bytes + FORM_BYTES},
    )
    predictions = Predictions(super(Service, app).__call__, parts.predictor, settings)
    app.front = access = Access(predictions, telemetry)
    app.express = Express(parts.predictor, settings, access)
    return app


@asynccontextmanager
async def _web_lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
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
