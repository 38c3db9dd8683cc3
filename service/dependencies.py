"""What routes ask for: the service's parts, made once in `create_app`."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from service.database import Database
from service.feeds import Feeds
from service.jobs import JobStore
from service.predictor import Predictor
from service.registry import ModelRegistry
from service.retention import Retention
from service.scheduler import Scheduler
from service.settings import Settings


@dataclass(frozen=True)
class Parts:
    """The service's parts."""

    settings: Settings
    database: Database
    jobs: JobStore
    registry: ModelRegistry
    predictor: Predictor
    scheduler: Scheduler
    feeds: Feeds
    retention: Retention


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


Service = Annotated[Parts, Depends(_parts)]
