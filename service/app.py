"""The application: its parts, its routes, its life."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import torch
from fastapi import FastAPI

from ml import __version__
from service import errors
from service.body_limit import BodyLimit
from service.database import Database
from service.dependencies import Parts
from service.jobs import JobStore
from service.predictor import Predictor
from service.registry import ModelRegistry
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
        scheduler=Scheduler(store, settings),
    )
    for room in (jobs, models, predict, health):
        app.include_router(room.router)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    errors.install(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    parts.settings.models_dir.mkdir(parents=True, exist_ok=True)
    parts.settings.datasets_dir.mkdir(parents=True, exist_ok=True)
    # The cores belong to the trainers.
    torch.set_num_threads(1)
    parts.database.migrate()
    await parts.scheduler.start()
    try:
        yield
    finally:
        await parts.scheduler.stop()
        parts.database.close()
