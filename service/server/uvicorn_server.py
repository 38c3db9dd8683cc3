"""The web server, with an ordered shutdown."""

import gc
import socket
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import cast

import uvicorn

from service.app import Application
from service.memory import Trimmer
from service.server.connection import LimitedConnection
from service.server.fast_path.choice import connection_class
from service.server.limits import ConnectionLimits

GARBAGE_THRESHOLD = 20_000
"""Allocations between two runs of the cyclic garbage collector."""
TICKS = 10
"""Ticks of uvicorn in `TICK_SECONDS`."""
TICK_SECONDS = 1.0


class Server(uvicorn.Server):
    """A uvicorn server that on shutdown at once closes live streams and drains the trainers, while
    pending requests finish. `heartbeat` is called every second, by the event loop."""

    def __init__(self, app: Application, heartbeat: Callable[[], None] = lambda: None) -> None:
        settings = app.components.settings
        self._drain = app.drain
        self._incoming = settings.incoming_dir
        self._heartbeat = heartbeat
        self._trimmer = Trimmer()
        self.limits = ConnectionLimits(settings, app.body_budget)
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
        # in memory.
        tempfile.tempdir = str(self._incoming)
        super().run(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Do what is due every second; return whether to stop."""
        if counter % TICKS == 0:
            self._heartbeat()
            self._trimmer.tick()
            self._check_connections()
        return await super().on_tick(counter)

    def _check_connections(self) -> None:
        now = time.monotonic()
        # After a freeze of this process, clients have the time it took to send.
        self.limits.check(self._connections(), min(now - self._checked, 2 * TICK_SECONDS))
        self._checked = now

    def _connections(self) -> Iterable[LimitedConnection]:
        return cast(Iterable[LimitedConnection], self.server_state.connections)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop within the graceful-shutdown timeout."""
        self._drain()
        await super().shutdown(sockets)
