"""Whether small predictions bypass ASGI.

The fast path rests on the internals of uvicorn's HTTP protocol. Nothing but this module imports
it, and only for a version that it was tested with; with any other, uvicorn's own protocol answers
every request.
"""

import asyncio
import logging

import uvicorn

from service.app import Application

TESTED_UVICORN = ("0.54",)
"""Minor versions with which the tests of the fast path have passed."""
ORDINARY = "auto"
"""uvicorn's name for the protocol that it chooses itself."""

logger = logging.getLogger(__name__)


def http_protocol(app: Application) -> type[asyncio.Protocol] | str:
    """Return the protocol with which uvicorn is to serve `app`."""
    if not app.components.settings.fast_path:
        return ORDINARY
    minor = ".".join(uvicorn.__version__.split(".")[:2])
    if minor not in TESTED_UVICORN:
        logger.warning(
            "the fast path is off: it was tested with uvicorn %s, and this is %s",
            ", ".join(TESTED_UVICORN),
            uvicorn.__version__,
        )
        return ORDINARY
    from service.server.fast_path.protocol import protocol_class
    from service.server.fast_path.small_predictions import FastPath

    return protocol_class(
        FastPath(app.components.model_cache, app.components.settings, app.access_log)
    )
