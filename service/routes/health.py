"""Routes for liveness and readiness probes."""

from fastapi import APIRouter

from service.errors import Unavailable
from service.http.problem_json import problems
from service.routes.dependencies import AppComponents
from service.schemas import Health, Readiness
from service.storage.data_dir import DataDirError, check_writable
from service.training.device_warnings import DeviceWarnings

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
async def live() -> Health:
    """Check that the process responds."""
    return Health(status="ok")


@router.get("/ready", responses=problems(Unavailable))
def ready(components: AppComponents) -> Readiness:
    """Check that the database responds and the data directory is writable."""
    components.database.ping()
    try:
        check_writable(components.settings.data_dir)
    except DataDirError as error:
        raise Unavailable(str(error)) from error
    warnings = [
        *DeviceWarnings(components.settings.warnings_file).all(),
        *(damage.message for damage in components.model_files.known_damage()),
        *(damage.message for damage in components.datasets.known_damage()),
    ]
    return Readiness(status="ok", warnings=warnings)
