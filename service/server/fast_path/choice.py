"""Choice of the HTTP protocol: with or without the fast path for small predictions.

The fast path depends on internals of uvicorn's HTTP protocol. Only this module imports it, and only
with a tested version of uvicorn; otherwise ASGI tasks answer every request.
"""

import logging

import uvicorn

from service.app import Application
from service.server.connection import LimitedConnection, bound
from service.server.door import Door
from service.server.limits import ConnectionLimits
from service.server.refusals import Refusals

TESTED_UVICORN = ("0.54",)
"""Minor versions of uvicorn with which the fast path is tested."""

logger = logging.getLogger(__name__)


def connection_class(app: Application, limits: ConnectionLimits) -> type[LimitedConnection]:
    """Return the class of connections with which uvicorn serves `app`."""
    settings = app.components.settings
    refusals = Refusals(app.access_log, app.components.audit_trail, settings)
    door = Door(settings)
    if not settings.fast_path or not _is_tested():
        return bound(LimitedConnection, limits, refusals, door)
    from service.server.fast_path.protocol import Connection
    from service.server.fast_path.small_predictions import FastPath

    components = app.components
    fast_path = FastPath(
        components.model_cache,
        components.authenticator,
        components.prediction_quotas,
        settings,
        app.access_log,
    )
    return bound(Connection, limits, refusals, door, fast_path)


def _is_tested() -> bool:
    minor = ".".join(uvicorn.__version__.split(".")[:2])
    if minor in TESTED_UVICORN:
        return True
    logger.warning(
        "the fast path is off: it is tested with uvicorn %s, and this is uvicorn %s",
        ", ".join(TESTED_UVICORN),
        uvicorn.__version__,
    )
    return False
