"""The scheduler and the clean-up, which run once for any number of web processes."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import SQLAlchemyError

from ml.files import replace
from service.jobs.attempts import AttemptStore
from service.jobs.quota_names import unknown_names
from service.settings import Settings
from service.settings.quotas import Quotas
from service.storage import records
from service.storage.cleanup import Cleanup
from service.storage.database import Database
from service.storage.instance import Instance
from service.training.scheduler import Scheduler

logger = logging.getLogger(__name__)


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
                cleans_up = self._prepare()
                await self._scheduler.start()
            except SQLAlchemyError as error:
                raise self._database.unusable(error) from error
            cleaning = asyncio.create_task(self._cleanup.run()) if cleans_up else None
            try:
                yield
            finally:
                if cleaning:
                    cleaning.cancel()
                await self._scheduler.stop()
        finally:
            self._database.close()

    def nudge(self) -> None:
        """Notify the scheduler, from any thread, that a job may be queued."""
        self._scheduler.nudge()

    def drain(self) -> None:
        """Begin the shutdown: stop claiming jobs, and have running ones saved and requeued."""
        self._scheduler.drain()

    def _prepare(self) -> bool:
        """Create directories, migrate the database and clean up; return whether the database may
        decide what is deleted."""
        settings = self._settings
        for directory in (settings.models_dir, settings.checkpoints_dir, settings.datasets_dir):
            directory.mkdir(parents=True, exist_ok=True)
        self._database.migrate()
        problem = Instance(self._database, settings).mismatch() or self._cleanup.move_orphans()
        if problem:
            logger.warning(problem)
            replace(settings.data_warning_file, problem.encode())
        else:
            settings.data_warning_file.unlink(missing_ok=True)
            self._cleanup.delete_unfinished()
            records.save_missing(self._database, settings)
        settings.incoming_dir.mkdir(parents=True, exist_ok=True)
        for name in unknown_names(self._database, Quotas(settings.quotas)):
            logger.warning("EPOCHD_QUOTAS names %s, which is no role and owns no key", name)
        return problem is None
