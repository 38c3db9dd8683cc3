"""What runs once, however many web processes there are: the scheduler, and the housekeeping."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.jobs.attempts import AttemptStore
from service.settings import Settings
from service.storage.cleanup import Cleanup
from service.storage.database import Database
from service.training.scheduler import Scheduler


class Background:
    """The service but for its web side."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings.sqlalchemy_url)
        self._cleanup = Cleanup(self._database, settings)
        self._scheduler = Scheduler(AttemptStore(self._database, settings), settings)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work from here on, and stop in the end, within the grace period."""
        try:
            self._prepare()
            await self._scheduler.start()
            sweeping = asyncio.create_task(self._cleanup.run())
            try:
                yield
            finally:
                sweeping.cancel()
                await self._scheduler.stop()
        finally:
            self._database.close()

    def nudge(self) -> None:
        """Tell the scheduler, from any thread, that a job may be waiting."""
        self._scheduler.nudge()

    def drain(self) -> None:
        """Begin to stop: claim nothing any more, and have running jobs saved."""
        self._scheduler.drain()

    def _prepare(self) -> None:
        """Make the data directory and the database what this version needs."""
        settings = self._settings
        for directory in (settings.models_dir, settings.checkpoints_dir, settings.datasets_dir):
            directory.mkdir(parents=True, exist_ok=True)
        self._database.migrate()
        self._cleanup.remove_orphans()
        self._cleanup.remove_unfinished_uploads()
