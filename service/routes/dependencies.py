"""What routes ask for: the parts of the web side, which the lifespan of the application hands to
each request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from service.charts.job_charts import Charts
from service.datasets.memory import Loading
from service.datasets.store import DatasetStore
from service.datasets.uploads import Uploading
from service.expressions.evaluator import Expressions
from service.jobs.event_stream import Feeds
from service.jobs.store import JobStore
from service.metrics import Telemetry
from service.models.evaluation import Evaluator
from service.models.registry import ModelRegistry
from service.predictions.model_cache import Predictor
from service.settings import Settings
from service.storage.cleanup import Retention
from service.storage.database import Database


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
    parts: Parts = request.state.parts
    return parts


Service = Annotated[Parts, Depends(_parts)]
