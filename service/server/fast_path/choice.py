"""Choice of the HTTP protocol: with or without the fast path for small predictions.

The fast path depends on internals of uvicorn's HTTP protocol. Only this module imports it, and only
with a tested version of uvicorn; otherwise uvicorn's own protocol answers every request.
"""

import asyncio
import logging

import uvicorn

from service.app import Application

TESTED_UVICORN = ("0.54",)
"""Minor versions of uvicorn with which the fast path is tested."""
ORDINARY = "auto"
"""uvicorn's option to choose its own protocol."""

logger = logging.getLogger(__name__)


def http_protocol(app: Application) -> type[asyncio.Protocol] | str:
    """Return the protocol class or name with which uvicorn serves `app`."""
    if not app.components.settings.fast_path:
        return ORDINARY
    minor = ".".join(uvicorn.__version__.split(".")[:2])
    if minor not in TESTED_UVICORN:
        logger.warning(
            "the fast path is off: it is tested with uvicorn %s, and this is uvicorn %s",
            ", ".join(TESTED_UVICORN),
            uvicorn.__version__,
        )
        return ORDINARY
    from service.server.fast_path.protocol import protocol_class
    from service.server.fast_path.small_predictions import FastPath

    return protocol_class(
        FastPath(app.components.model_cache, app.components.settings, app.access_log)
    )
