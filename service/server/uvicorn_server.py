"""The web server, which stops in an order that loses nothing."""

import gc
import os
import socket
import tempfile
from pathlib import Path

import uvicorn

from service.app import Application
from service.server.fast_path.choice import http_protocol

GARBAGE_THRESHOLD = 20_000
"""New objects between two looks for garbage that refers to itself."""


class Server(uvicorn.Server):
    """uvicorn, but asked to stop it ends live streams and lets trainers save their work at once,
    while requests under way finish."""

    def __init__(self, app: Application) -> None:
        settings = app.components.settings
        self._drain = app.drain
        self._incoming = settings.incoming_dir
        super().__init__(
            uvicorn.Config(
                app,
                http=http_protocol(app),
                host=settings.host,
                port=settings.port,
                timeout_graceful_shutdown=max(1, int(settings.trainer_timeout_seconds)),
                log_config=None,
                access_log=False,
                proxy_headers=False,
            )
        )

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until asked to stop."""
        # What was imported stays: to look through it for garbage again and again takes a tenth of
        # the time that small requests take.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_THRESHOLD)
        # What is too large for memory while it arrives goes where there is room for data: the
        # system's own place for such files is often memory.
        # torch would put a cache of its own there too, where nothing but uploads belongs.
        cache = Path(tempfile.gettempdir()) / f"torchinductor_{os.getuid()}"
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
        tempfile.tempdir = str(self._incoming)
        super().run(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, within the grace period."""
        self._drain()
        await super().shutdown(sockets)
