"""Artifacts that were moved out of the way, kept for some days: `trash/<date>/<kind>/<name>`."""

import logging
import shutil
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path

from ml.files import sync
from service.storage.artifacts import Kind

logger = logging.getLogger(__name__)


class Trash:
    """The trash of a data directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def move(self, kind: Kind, path: Path) -> Path | None:
        """Move an artifact to the trash and return where it is now. One on another file system
        stays, and None is returned."""
        place = self._directory / datetime.now(UTC).date().isoformat() / kind
        names = (path.name if n == 0 else f"{path.name}.{n}" for n in count())
        try:
            place.mkdir(parents=True, exist_ok=True)
            into = next(place / name for name in names if not (place / name).exists())
            path.rename(into)
            sync(place)
        except OSError as error:
            logger.warning("%s stays: it cannot be moved to the trash: %s", path, error.strerror)
            return None
        return into

    def delete_expired(self, keep: timedelta) -> None:
        """Delete what was moved to the trash more than `keep` ago."""
        last = (datetime.now(UTC) - keep).date()
        for path in self._directory.iterdir() if self._directory.is_dir() else ():
            day = _day(path.name)
            if day is not None and day < last:
                logger.info("deleting %s, which has been in the trash for %s", path, keep)
                shutil.rmtree(path, ignore_errors=True)


def _day(name: str) -> date | None:
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None
