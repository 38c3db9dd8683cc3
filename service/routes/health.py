"""Routes for liveness and readiness probes."""

from fastapi import APIRouter

from service.access.caller import Caller
from service.errors import Unavailable
from service.http.problem_json import problems
from service.routes.dependencies import AppComponents, Components, OptionalCaller
from service.schemas import Health, Readiness

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
async def check_live() -> Health:
    """Check that the process responds."""
    return Health(status="ok")


@router.get("/ready", responses=problems(Unavailable))
def check_ready(components: AppComponents, caller: OptionalCaller) -> Readiness:
    """Check that the service can do its work: that the database responds, that the data directory
    is writable, and what else `detail` and `warnings` name. Who has no key sees the status only."""
    warnings = warnings_for(caller, components)
    if caller is None:
        return Readiness(status="degraded" if warnings else "ok", warnings=[])
    return Readiness(status="degraded" if warnings else "ok", warnings=warnings)


def warnings_for(caller: Caller | None, components: Components) -> list[str]:
    """Return what the operator should know of a service that is ready.

    Raises:
        Unavailable: it is not ready; who has no key does not learn why.
    """
    try:
        return components.readiness.warnings()
    except Unavailable:
        if caller is None:
            raise Unavailable("the service is not ready; send a key to see why") from None
        raise
