"""The application: its parts, its routes, its life."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import torch
from fastapi import FastAPI

from ml import __version__
from service import errors
from service.attempts import AttemptStore
from service.body_limit import BodyLimit
from service.database import Database
from service.dependencies import Parts
from service.feeds import Feeds
from service.jobs import JobStore
from service.predictor import Predictor
from service.registry import ModelRegistry
from service.retention import Retention
from service.routes import health, jobs, models, predict
from service.scheduler import Scheduler
from service.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """Return the service as an ASGI application. Its parts start and stop with its lifespan."""
    app = FastAPI(
        title="epochd",
        version=__version__,
        description="Train and serve PyTorch models over HTTP.",
        lifespan=_lifespan,
        responses=errors.problems(errors.TooLarge, errors.Unprocessable),
    )
    database = Database(settings.sqlalchemy_url)
    registry = ModelRegistry(database)
    store = JobStore(database)
    app.state.parts = Parts(
        settings=settings,
        database=database,
        jobs=store,
        registry=registry,
        predictor=Predictor(registry, settings.models_dir, settings.model_cache),
        scheduler=Scheduler(AttemptStore(database, settings), settings),
        feeds=Feeds(store),
        retention=Retention(database, settings),
    )
    for room in (jobs, models, predict, health):
        app.include_router(room.router)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    errors.install(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    settings = parts.settings
    for directory in (settings.models_dir, settings.checkpoints_dir, settings.datasets_dir):
        directory.mkdir(parents=True, exist_ok=True)
    # The cores belong to the trainers.
    torch.set_num_threads(1)
    parts.database.migrate()
    parts.retention.remove_orphans()
    await parts.scheduler.start()
    sweeping = asyncio.create_task(parts.retention.run())
    try:
        yield
    finally:
        sweeping.cancel()
        parts.feeds.close()
        await parts.scheduler.stop()
        parts.database.close()
