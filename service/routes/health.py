"""Routes for liveness and readiness probes."""

from fastapi import APIRouter

from service.errors import Unavailable
from service.http.problem_json import problems
from service.routes.dependencies import AppComponents
from service.schemas import Health, Readiness

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
async def live() -> Health:
    """Check that the process responds."""
    return Health(status="ok")


@router.get("/ready", responses=problems(Unavailable))
def ready(components: AppComponents) -> Readiness:
    """Check that the service can do its work: that the database responds, that the data directory
    is writable, and what else `detail` and `warnings` name."""
    return Readiness(status="ok", warnings=components.readiness.warnings())
