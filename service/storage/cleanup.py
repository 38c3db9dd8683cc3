"""Clean-up of old checkpoints and step metrics, of what killed processes left, and of the trash.

A deletion that a user requests takes effect at once. Anything else goes to the trash first, because
a missing row can also mean that an older database was put back.
"""

import asyncio
import logging
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from service.settings import Settings
from service.storage.artifacts import Kind, Known, counted, on_disk, places
from service.storage.database import Database
from service.storage.instance import REMEDY
from service.storage.tables import EventRow, JobRow
from service.storage.trash import Trash

logger = logging.getLogger(__name__)

CLEANUP_SECONDS = 3600.0
FEW = 10
FEW_SHARE = 0.1
"""Artifacts unknown to the database that are moved to the trash: at most `FEW`, or this share of
their kind, but never all."""


class Cleanup:
    """Deletes expired data, and moves artifacts without a row to the trash."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._data_dir = settings.data_dir.resolve()
        self._places = places(settings)
        self._incoming = settings.incoming_dir
        self._trash = Trash(settings.trash_dir)
        self._warning = settings.data_warning_file
        self._keep = timedelta(days=settings.keep_days)

    def delete_checkpoints(self, job_id: str) -> None:
        shutil.rmtree(self._places["checkpoints"] / job_id, ignore_errors=True)

    def delete_unfinished(self) -> None:
        """Delete unfinished uploads and models, and interrupted deletions. Only for startup, when
        no attempt and no upload runs."""
        shutil.rmtree(self._incoming, ignore_errors=True)
        for partial in self._places["models"].glob(".*.partial"):
            shutil.rmtree(partial, ignore_errors=True)

    def move_orphans(self) -> str | None:
        """Move artifacts without a row to the trash; if these are too many to be orphans, move none
        and return the reason. Only for startup.

        After a start that gave a reason, even one unknown artifact is too many: a database that is
        not the right one comes to know artifacts of its own, which proves nothing about others.
        """
        is_doubtful = self._warning.exists()
        with self._database.read() as session:
            known = Known.of(session)
        orphans: list[tuple[Kind, Path]] = []
        refused = []
        for kind, place in self._places.items():
            there = on_disk(place)
            unnamed = there - known.named(kind)
            unknown = {name for name in unnamed if not known.is_leftover(kind, name)}
            certain = len(there) - len(unnamed) + len(unknown)
            if _are_too_many(len(unknown), certain) or (is_doubtful and unknown):
                refused.append(counted(kind, len(unknown), certain))
            orphans += [(kind, place / name) for name in sorted(unnamed)]
        if refused:
            return (
                f"the database has no row for {' and '.join(refused)} in "
                f"{self._data_dir}, as if an older copy had been put back; {REMEDY}"
            )
        for kind, path in orphans:
            if moved := self._trash.move(kind, path):
                logger.warning("moved %s, which has no row in the database, to %s", path, moved)
        return None

    def delete_expired(self) -> None:
        """Delete checkpoints and step metrics of jobs that ended more than `keep_days` ago, and the
        trash of that age."""
        since = datetime.now(UTC) - self._keep
        ended = select(JobRow.id).where(JobRow.finished_at < since)
        with self._database.write() as session:
            session.execute(
                delete(EventRow).where(EventRow.job_id.in_(ended), EventRow.kind == "step")
            )
            jobs = session.scalars(ended).all()
        for job_id in jobs:
            # Newer files tell that the row is not the job's latest: it is from an older database.
            if _modified(self._places["checkpoints"] / job_id) < since.timestamp():
                self.delete_checkpoints(job_id)
        self._trash.delete_expired(self._keep)

    async def run(self) -> None:
        """Delete expired data every `CLEANUP_SECONDS`, forever."""
        while True:
            try:
                await asyncio.to_thread(self.delete_expired)
            except (SQLAlchemyError, OSError) as error:
                logger.error("could not delete expired data: %s", error)
            await asyncio.sleep(CLEANUP_SECONDS)


def _are_too_many(unknown: int, of: int) -> bool:
    return unknown > 0 and (unknown == of or unknown > max(FEW, FEW_SHARE * of))


def _modified(directory: Path) -> float:
    """Return when the newest file in a directory was modified, or 0 if there is none."""
    try:
        return max((path.stat().st_mtime for path in directory.iterdir()), default=0)
    except FileNotFoundError:
        return 0
