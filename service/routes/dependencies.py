"""Components that the routes depend on; the application's lifespan puts them into each request's
state."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from service.access.audit_reader import AuditReader
from service.access.audit_trail import AuditTrail
from service.access.authenticator import Authenticator
from service.access.caller import SCOPE_KEY, Caller, caller_of
from service.access.key_store import KeyStore
from service.access.session_store import SessionStore
from service.charts.job_charts import JobCharts
from service.datasets.memory import MemorySlots
from service.datasets.store import DatasetStore
from service.datasets.uploads import DatasetUploader
from service.expressions.evaluator import ExpressionEvaluator
from service.jobs.event_stream import EventStreams
from service.jobs.sharing import Sharing
from service.jobs.store import JobStore
from service.metrics import Metrics
from service.models.evaluation import ModelEvaluator
from service.models.files import ModelFiles
from service.models.registry import ModelRegistry
from service.predictions.model_cache import ModelCache
from service.predictions.prediction_quotas import PredictionQuotas
from service.readiness import ReadinessChecks
from service.settings import Settings
from service.storage.cleanup import Cleanup
from service.storage.database import Database
from service.storage.disk_space import DiskSpace
from service.storage.write_turns import WriteTurns
from service.training.roster import Roster
from service.work import Work


@dataclass(frozen=True)
class Components:
    """Components of a web process."""

    settings: Settings
    database: Database
    keys: KeyStore
    sessions: SessionStore
    authenticator: Authenticator
    audit_trail: AuditTrail
    audit_reader: AuditReader
    jobs: JobStore
    sharing: Sharing
    roster: Roster
    datasets: DatasetStore
    uploader: DatasetUploader
    registry: ModelRegistry
    model_files: ModelFiles
    model_cache: ModelCache
    prediction_quotas: PredictionQuotas
    evaluator: ModelEvaluator
    memory_slots: MemorySlots
    charts: JobCharts
    event_streams: EventStreams
    cleanup: Cleanup
    expressions: ExpressionEvaluator
    metrics: Metrics
    readiness: ReadinessChecks
    write_turns: WriteTurns
    disk_space: DiskSpace
    work: Work
    nudge: Callable[[], None]
    """Wakes the scheduler, since a job may be waiting."""


def _components(request: Request) -> Components:
    components: Components = request.state.components
    return components


AppComponents = Annotated[Components, Depends(_components)]


def _caller(request: Request) -> Caller:
    return caller_of(request.scope)


def _optional_caller(request: Request) -> Caller | None:
    caller: Caller | None = request.scope[SCOPE_KEY]
    return caller


CurrentCaller = Annotated[Caller, Depends(_caller)]
OptionalCaller = Annotated[Caller | None, Depends(_optional_caller)]
"""The caller of a public route, which may be unknown."""


async def _write_turn(components: AppComponents) -> AsyncIterator[None]:
    async with components.write_turns.turn():
        yield


WRITES = [Depends(_write_turn, scope="function")]
"""Dependencies of a route that writes to the database: it waits for its turn."""
