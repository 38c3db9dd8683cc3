"""Damage found in stored files: logged once, and known to every process.

A note is kept for each damaged file until the file changes, so that a file that is repaired is no
longer reported.
"""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from ml.errors import Damaged
from ml.integrity import Identity, identity
from service.settings import Settings

logger = logging.getLogger(__name__)


class Note(BaseModel):
    """The message about a damaged file, and its state; null if it is missing."""

    message: str
    state: Identity | None


class KnownDamage(NamedTuple):
    """A damaged file of an artifact, and the message about it."""

    artifact: str
    file: str
    message: str


class DamageNotes:
    """Notes about the files below `artifacts`, which has a directory for each artifact, in files of
    the same names below `directory`."""

    def __init__(self, directory: Path, artifacts: Path) -> None:
        self._directory = directory
        self._artifacts = artifacts
        self._unwritten: dict[Path, Note] = {}
        """Notes that could not be written, so that they are logged once all the same."""
        self._writing = threading.Lock()

    @classmethod
    def of_models(cls, settings: Settings) -> "DamageNotes":
        return cls(settings.damage_dir / "models", settings.models_dir)

    @classmethod
    def of_datasets(cls, settings: Settings) -> "DamageNotes":
        return cls(settings.damage_dir / "datasets", settings.uploads_dir)

    def record(self, damage: Damaged) -> None:
        """Log damage to a file below `artifacts`, unless it is known, and note it."""
        if not damage.path.is_relative_to(self._artifacts):
            return
        note = Note(message=damage.brief(), state=identity(damage.path))
        file = self._directory / damage.path.relative_to(self._artifacts)
        with self._writing:
            if note in (_read(file), self._unwritten.get(file)):
                return
            logger.error("%s", damage)
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                partial = self._directory / f"{os.getpid()}.partial"
                partial.write_text(note.model_dump_json(), "utf-8")
                partial.rename(file)
            except OSError as error:
                logger.warning("cannot write %s: %s", file, error)
                self._unwritten[file] = note

    def current(self, is_known: Callable[[str], bool]) -> list[KnownDamage]:
        """Return what is known. Notes about files that changed, or about artifacts that `is_known`
        does not know, are deleted."""
        known = []
        for file in sorted(self._directory.glob("*/*")):
            artifact, note = file.parent.name, _read(file)
            if note is None or note.state != identity(self._artifacts / artifact / file.name):
                self.forget(artifact, file.name)
            elif is_known(artifact):
                known.append(KnownDamage(artifact, file.name, note.message))
            else:
                self.forget(artifact)
        return known

    def forget(self, artifact: str, *names: str) -> None:
        """Delete the notes about files of an artifact, by default all, that are intact or were
        deleted."""
        place = self._directory / artifact
        for file in [place / name for name in names] or [*place.glob("*")]:
            self._unwritten.pop(file, None)
            with suppress(OSError):
                file.unlink()


def _read(file: Path) -> Note | None:
    try:
        return Note.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
