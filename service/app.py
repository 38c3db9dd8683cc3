"""The application: its parts, its routes, its life."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import torch
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from ml import __version__
from service import errors
from service.access import Access
from service.background import Background
from service.body_limit import BodyLimit
from service.catalog import Catalog
from service.charts import Charts
from service.database import Database
from service.datasets import DatasetStore
from service.dependencies import Parts
from service.evaluations import Evaluator
from service.express import Express
from service.expressions import Expressions
from service.feeds import Feeds
from service.jobs import JobStore
from service.loading import Loading
from service.predictions import Predictions
from service.predictor import Predictor
from service.registry import ModelRegistry
from service.retention import Retention
from service.revision import Revision
from service.routes import (
    charts,
    datasets,
    evaluation,
    expressions,
    health,
    jobs,
    metrics,
    models,
    predict,
    v2,
)
from service.settings import Settings
from service.telemetry import Telemetry
from service.uploading import Uploading

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
        responses=errors.problems(errors.BadRequest, errors.TooLarge, errors.Unprocessable),
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
        v2,
        expressions,
        charts,
        evaluation,
        health,
        metrics,
    ):
        app.include_router(room.router)
    errors.install(app)
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
