"""Several web processes on one socket, with one scheduler, which runs in this process.

A web process notifies the scheduler of a new job by a signal. All processes see changes of the
model registry by its version (`service.models.revision`), and share a directory of files from which
their metrics are summed.
"""

import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile

from prometheus_client.multiprocess import mark_process_dead
from pydantic import BaseModel

from service import logs, processes
from service.app import create_web_app
from service.background import Background
from service.errors import DatabaseUnusable
from service.server.uvicorn_server import Server
from service.settings import Settings

logger = logging.getLogger(__name__)

NUDGE = signal.SIGUSR1
RESTART_SECONDS = 1.0


class WorkerConfig(BaseModel):
    """Arguments of a web process."""

    settings: Settings
    socket: int


def serve(settings: Settings) -> None:
    """Run the service until a signal to stop."""
    asyncio.run(_Supervisor(settings).run())


class _Supervisor:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._background = Background(settings)
        self._metrics = tempfile.mkdtemp(prefix="epochd-metrics-")
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        listening = socket.create_server(
            (self._settings.host, self._settings.port), backlog=2048, reuse_port=False
        )
        try:
            async with self._background.running():
                # Web processes start only now: a signal without a handler would end this process.
                loop.add_signal_handler(NUDGE, self._background.nudge)
                slots = [
                    asyncio.create_task(self._keep(listening))
                    for _ in range(self._settings.web_workers)
                ]
                host, port = listening.getsockname()[:2]
                logger.info("%d web processes running on http://%s:%d", len(slots), host, port)
                await self._stopping.wait()
                self._background.drain()
                await asyncio.gather(*slots)
        finally:
            listening.close()
            shutil.rmtree(self._metrics, ignore_errors=True)

    async def _keep(self, listening: socket.socket) -> None:
        """Run a web process, restarting it when it dies, until the service stops."""
        while not self._stopping.is_set():
            process = await self._start(listening)
            ended = asyncio.create_task(process.wait())
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                process.terminate()
                try:
                    await asyncio.wait_for(ended, self._settings.shutdown_timeout_seconds)
                except TimeoutError:
                    process.kill()
            stopping.cancel()
            mark_process_dead(process.pid, self._metrics)  # type: ignore[no-untyped-call]
            if not self._stopping.is_set():
                logger.error("web process %d ended unexpectedly; starting another", process.pid)
                await asyncio.sleep(RESTART_SECONDS)

    async def _start(self, listening: socket.socket) -> asyncio.subprocess.Process:
        config = WorkerConfig(settings=self._settings, socket=listening.fileno())
        return await processes.start(
            "service.server.web_workers",
            config.model_dump_json(),
            piped=False,
            environment={"PROMETHEUS_MULTIPROC_DIR": self._metrics},
            pass_fds=[listening.fileno()],
        )


def main(argument: str) -> None:
    """Run a web process."""
    config = WorkerConfig.model_validate_json(argument)
    settings, supervisor = config.settings, os.getppid()
    logs.configure(settings.log_format)
    try:
        app = create_web_app(settings, lambda: os.kill(supervisor, NUDGE))
    except DatabaseUnusable as error:
        sys.exit(str(error))
    server = Server(app)
    server.run(sockets=[socket.socket(fileno=config.socket)])


if __name__ == "__main__":
    main(sys.argv[1])
