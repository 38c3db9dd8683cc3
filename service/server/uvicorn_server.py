"""The web server, with an ordered shutdown."""

import gc
import os
import socket
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import uvicorn

from service.app import Application
from service.server.connection import LimitedConnection
from service.server.fast_path.choice import connection_class
from service.server.limits import ConnectionLimits

CHECK_SECONDS = 1.0
"""Seconds between two checks of the connections."""
GARBAGE_THRESHOLD = 20_000
"""Allocations between two runs of the cyclic garbage collector."""


class Server(uvicorn.Server):
    """A uvicorn server that on shutdown at once closes live streams and drains the trainers, while
    pending requests finish."""

    def __init__(self, app: Application) -> None:
        settings = app.components.settings
        self._drain = app.drain
        self._incoming = settings.incoming_dir
        self.limits = ConnectionLimits(settings, app.body_budget, app.access_log)
        self._checked = 0.0
        super().__init__(
            uvicorn.Config(
                app,
                http=connection_class(app, self.limits),
                ws="none",
                host=settings.host,
                port=settings.port,
                timeout_graceful_shutdown=max(1, int(settings.trainer_timeout_seconds)),
                log_config=None,
                access_log=False,
                proxy_headers=False,
            )
        )

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal to stop."""
        # Imported objects stay alive: scanning them for garbage takes a tenth of the time of small
        # requests.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_THRESHOLD)
        # Large uploads are spooled to the data directory: the system's temporary directory is often
        # in memory. PyTorch's cache stays out of it.
        cache = Path(tempfile.gettempdir()) / f"torchinductor_{os.getuid()}"
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
        tempfile.tempdir = str(self._incoming)
        super().run(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Check the connections once per second."""
        now = time.monotonic()
        if now - self._checked >= CHECK_SECONDS:
            # After a freeze of this process, clients have the time it took to send.
            self.limits.check(self._connections(), min(now - self._checked, 2 * CHECK_SECONDS))
            self._checked = now
        return await super().on_tick(counter)

    def _connections(self) -> Iterable[LimitedConnection]:
        return cast(Iterable[LimitedConnection], self.server_state.connections)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop within the graceful-shutdown timeout."""
        self._drain()
        await super().shutdown(sockets)
