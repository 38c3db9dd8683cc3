"""Probes."""

from fastapi import APIRouter

from service.dependencies import Service
from service.errors import Unavailable, problems
from service.schemas import Health

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
async def live() -> Health:
    """The process answers."""
    return Health(status="ok")


@router.get("/ready", responses=problems(Unavailable))
def ready(service: Service) -> Health:
    """The database answers too."""
    service.database.ping()
    return Health(status="ok")
