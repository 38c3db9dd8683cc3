"""Several web processes on one socket, with one scheduler, which runs in this process.

A web process notifies the scheduler of a new job by a signal. All processes see changes of the
model registry and of keys by their versions (`service.storage.shared_version`), and share a
directory of files from which their metrics are summed. A web process whose event loop hangs sends
no heartbeat, and is replaced.
"""

import asyncio
import contextlib
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
from service.processes import take_config
from service.server import unix_socket
from service.server.uvicorn_server import TICK_SECONDS, Server
from service.settings import Settings

logger = logging.getLogger(__name__)

NUDGE = signal.SIGUSR1
RESTART_SECONDS = 1.0
BACKLOG = 2048


class WorkerConfig(BaseModel):
    """Configuration of a web process."""

    settings: Settings
    socket: int
    heartbeat: int
    """Pipe into which the event loop writes a byte every second."""


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
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self._metrics, ignore_errors=True)
            listening = stack.enter_context(self._listening())
            async with self._background.running():
                # Web processes start only now: a signal without a handler would end this process.
                loop.add_signal_handler(NUDGE, self._background.nudge)
                slots = [
                    asyncio.create_task(self._keep(listening))
                    for _ in range(self._settings.web_workers)
                ]
                logger.info("%d web processes running on %s", len(slots), _address(listening))
                await self._stopping.wait()
                self._background.drain()
                await asyncio.gather(*slots)

    def _listening(self) -> contextlib.AbstractContextManager[socket.socket]:
        settings = self._settings
        if settings.uds is not None:
            return unix_socket.listening(settings.uds)
        return socket.create_server(
            (settings.host, settings.port), backlog=BACKLOG, reuse_port=False
        )

    async def _keep(self, listening: socket.socket) -> None:
        """Run a web process, restarting it when it dies, until the service stops."""
        while not self._stopping.is_set():
            process, heartbeat = await self._start(listening)
            watching = asyncio.create_task(self._kill_if_hung(process, heartbeat))
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
            watching.cancel()
            mark_process_dead(process.pid, self._metrics)  # type: ignore[no-untyped-call]
            if not self._stopping.is_set():
                logger.error("web process %d ended unexpectedly; starting another", process.pid)
                await asyncio.sleep(RESTART_SECONDS)

    async def _kill_if_hung(self, process: processes.Child, heartbeat: int) -> None:
        """Kill a web process that has sent heartbeats and does so no longer."""
        loop, beaten = asyncio.get_running_loop(), asyncio.Event()

        def read() -> None:
            if os.read(heartbeat, 4096):
                beaten.set()
            else:
                loop.remove_reader(heartbeat)

        loop.add_reader(heartbeat, read)
        try:
            # The first one comes when the process has started, which takes longer.
            await beaten.wait()
            missing = 0.0
            # Counted in own ticks: time for which the whole machine was suspended is no silence.
            while missing < self._settings.web_timeout_seconds:
                beaten.clear()
                try:
                    await asyncio.wait_for(beaten.wait(), TICK_SECONDS)
                    missing = 0.0
                except TimeoutError:
                    missing += TICK_SECONDS
            logger.error(
                "killing web process %d, which has not responded for %g seconds",
                process.pid,
                missing,
            )
            process.kill()
        finally:
            loop.remove_reader(heartbeat)
            os.close(heartbeat)

    async def _start(self, listening: socket.socket) -> tuple[processes.Child, int]:
        """Start a web process; return it and the pipe of its heartbeats."""
        reading, writing = os.pipe()
        config = WorkerConfig(settings=self._settings, socket=listening.fileno(), heartbeat=writing)
        try:
            process = await processes.start(
                "service.server.web_workers",
                config=config.model_dump_json(),
                piped=False,
                environment={"PROMETHEUS_MULTIPROC_DIR": self._metrics},
                pass_fds=[listening.fileno(), writing],
            )
        finally:
            os.close(writing)
        return process, reading


def _address(listening: socket.socket) -> str:
    if listening.family == socket.AF_UNIX:
        return f"unix:{listening.getsockname()}"
    host, port = listening.getsockname()[:2]
    return f"http://{host}:{port}"


def main() -> None:
    """Run a web process."""
    config = WorkerConfig.model_validate_json(take_config())
    settings, supervisor = config.settings, os.getppid()
    logs.configure(settings.log_format)
    try:
        app = create_web_app(settings, lambda: os.kill(supervisor, NUDGE))
    except DatabaseUnusable as error:
        sys.exit(str(error))
    os.set_blocking(config.heartbeat, False)

    def beat() -> None:
        # A full pipe holds more heartbeats than are waited for.
        with contextlib.suppress(BlockingIOError):
            os.write(config.heartbeat, b".")

    server = Server(app, beat)
    server.run(sockets=[socket.socket(fileno=config.socket)])


if __name__ == "__main__":
    main()
