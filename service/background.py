"""The scheduler and the clean-up, which run once for any number of web processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import SQLAlchemyError

from service.jobs.attempts import AttemptStore
from service.settings import Settings
from service.storage.cleanup import Cleanup
from service.storage.database import Database
from service.training.scheduler import Scheduler


class Background:
    """The service without its web side."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings.sqlalchemy_url)
        self._cleanup = Cleanup(self._database, settings)
        self._scheduler = Scheduler(AttemptStore(self._database, settings), settings)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run within the `with` block, and stop within the graceful-shutdown timeout.

        Raises:
            DatabaseUnusable: the service cannot start on its database.
        """
        try:
            try:
                self._prepare()
                await self._scheduler.start()
            except SQLAlchemyError as error:
                raise self._database.unusable(error) from error
            sweeping = asyncio.create_task(self._cleanup.run())
            try:
                yield
            finally:
                sweeping.cancel()
                await self._scheduler.stop()
        finally:
            self._database.close()

    def nudge(self) -> None:
        """Notify the scheduler, from any thread, that a job may be queued."""
        self._scheduler.nudge()

    def drain(self) -> None:
        """Begin the shutdown: stop claiming jobs, and have running ones saved and requeued."""
        self._scheduler.drain()

    def _prepare(self) -> None:
        """Create directories, migrate the database and remove orphaned files."""
        settings = self._settings
        for directory in (settings.models_dir, settings.checkpoints_dir, settings.datasets_dir):
            directory.mkdir(parents=True, exist_ok=True)
        self._database.migrate()
        self._cleanup.remove_orphans()
        self._cleanup.remove_unfinished_uploads()
