"""Clean-up of old checkpoints, old step metrics, and files without a row."""

import asyncio
import logging
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from service.settings import Settings
from service.storage.database import Database
from service.storage.tables import DatasetRow, EventRow, JobRow, ModelVersionRow

logger = logging.getLogger(__name__)

CLEANUP_SECONDS = 3600.0


class Cleanup:
    """Deletes expired data and orphaned files."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._models = settings.models_dir
        self._checkpoints = settings.checkpoints_dir
        self._incoming = settings.incoming_dir
        self._keep = timedelta(days=settings.keep_days)

    def delete_checkpoints(self, job_id: str) -> None:
        shutil.rmtree(self._checkpoints / job_id, ignore_errors=True)

    def remove_orphans(self) -> None:
        """Delete files without a row, left by attempts that were killed before they registered
        them. Only for startup, when no attempt runs."""
        with self._database.read() as session:
            jobs = set(session.scalars(select(JobRow.id)))
            models = set(
                session.scalars(
                    select(ModelVersionRow.directory).where(ModelVersionRow.deleted_at.is_(None))
                )
            )
        self._remove_unknown(self._checkpoints, jobs)
        self._remove_unknown(self._models, models)

    def remove_unfinished_uploads(self) -> None:
        """Delete interrupted uploads and deletions, and the files of data sets that are not in the
        database. Only for startup."""
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir(parents=True)
        with self._database.read() as session:
            contents = set(session.scalars(select(DatasetRow.content)))
        self._remove_unknown(self._incoming.parent, contents | {self._incoming.name})

    def delete_expired(self) -> None:
        """Delete checkpoints and step metrics of jobs that ended more than `keep_days` ago."""
        ended = select(JobRow.id).where(JobRow.finished_at < datetime.now(UTC) - self._keep)
        with self._database.write() as session:
            session.execute(
                delete(EventRow).where(EventRow.job_id.in_(ended), EventRow.kind == "step")
            )
            jobs = session.scalars(ended).all()
        for job_id in jobs:
            self.delete_checkpoints(job_id)

    def _remove_unknown(self, directory: Path, known: set[str]) -> None:
        for path in directory.iterdir():
            if path.is_dir() and path.name not in known:
                logger.info("removing %s, which has no row in the database", path)
                shutil.rmtree(path, ignore_errors=True)

    async def run(self) -> None:
        """Delete expired data every `CLEANUP_SECONDS`, forever."""
        while True:
            try:
                await asyncio.to_thread(self.delete_expired)
            except SQLAlchemyError as error:
                logger.error("could not delete expired data: %s", error)
            await asyncio.sleep(CLEANUP_SECONDS)
