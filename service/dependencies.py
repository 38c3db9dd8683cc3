"""What routes ask for: the parts of the web side, made once in `create_app`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from service.charts import Charts
from service.database import Database
from service.datasets import DatasetStore
from service.evaluations import Evaluator
from service.expressions import Expressions
from service.feeds import Feeds
from service.jobs import JobStore
from service.loading import Loading
from service.predictor import Predictor
from service.registry import ModelRegistry
from service.retention import Retention
from service.settings import Settings
from service.telemetry import Telemetry
from service.uploading import Uploading


@dataclass(frozen=True)
class Parts:
    """The parts of the web side."""

    settings: Settings
    database: Database
    jobs: JobStore
    datasets: DatasetStore
    uploading: Uploading
    registry: ModelRegistry
    predictor: Predictor
    evaluator: Evaluator
    loading: Loading
    charts: Charts
    feeds: Feeds
    retention: Retention
    expressions: Expressions
    telemetry: Telemetry
    nudge: Callable[[], None]
    """Tells the scheduler that a job may be waiting."""


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


Service = Annotated[Parts, Depends(_parts)]
