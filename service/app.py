"""The application: its parts, its routes, its life."""

import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

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


class DataDirInUse(RuntimeError):
    """Another service runs on the data directory."""


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
    with _only_service_on(parts.settings.data_dir):
        parts.database.migrate()
        await parts.scheduler.start()
        try:
            yield
        finally:
            await parts.scheduler.stop()
            parts.database.close()


@contextmanager
def _only_service_on(data_dir: Path) -> Iterator[None]:
    """Hold the data directory's lock; the kernel drops it however this process ends."""
    with (data_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataDirInUse(f"another epochd runs on {data_dir.resolve()}") from None
        yield
