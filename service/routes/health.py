"""Probes."""

from fastapi import APIRouter

from service.data_dir import DataDirError, check_writable
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
    """The database answers too, and the data directory can be written."""
    service.database.ping()
    try:
        check_writable(service.settings.data_dir)
    except DataDirError as error:
        raise Unavailable(str(error)) from error
    return Health(status="ok")
