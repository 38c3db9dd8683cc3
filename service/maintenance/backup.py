"""A backup of a data directory, while the service runs or not.

Checkpoints are taken first, the database next, and then the models and data sets that it names:
these are saved before their rows, and never changed. A job in the backup thus resumes from a
checkpoint that the database already knows of, and every row has its files.

Artifacts that the database does not know are taken too, and told of: `epochd adopt` can register
them, here or where the backup is restored.
"""

import errno
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel

from ml import __version__, integrity
from ml.errors import Damaged
from ml.files import sync, sync_tree, write
from service.maintenance.snapshot import (
    DATABASE,
    Refused,
    database_file,
    instance_of,
    reading,
    revision_of,
    unknown,
)
from service.settings import Settings
from service.storage import sqlite_copy
from service.storage.artifacts import Kind, Known, on_disk, places

DESCRIPTION = "backup.json"
DOUBT = "the backup was made of artifacts that its database does not know; run `epochd adopt`"
PASSES = 20
"""Maximum number of copies of the database, if models and data sets are deleted meanwhile."""
CHECKPOINT_TRIES = 5
NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}
"""Errors of file systems that cannot link a file."""


class Description(BaseModel):
    """The origin of a backup. Its files are in its checksums."""

    format: int = 1
    epochd_version: str
    schema_revision: str | None
    instance: str | None
    created_at: datetime


@dataclass(frozen=True)
class Result:
    """A finished backup."""

    directory: Path
    files: int
    bytes: int
    faults: Sequence[str]
    """Faults of the data directory that the backup inherits."""


def back_up(settings: Settings, into: Path, link: bool = True) -> Result:
    """Write a backup into a directory that does not exist yet or is empty. It appears when it is
    complete. With `link`, files are linked where the file system allows it.

    Raises:
        Refused: there is nothing to back up, or the directory cannot be used.
        OSError, sqlite3.Error: the backup failed; nothing is left of it.
    """
    into = into.resolve()
    file = database_file(settings)
    if not file.exists():
        raise Refused(f"there is no database {file}; set EPOCHD_DATA_DIR to the data directory")
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise Refused(f"{into} exists and is not empty; choose another directory")
    if into.is_mount():
        # The finished backup is renamed, which a mount point does not allow.
        raise Refused(f"{into} is a mount point; choose a directory in it, such as {into}/epochd")
    partial = into.with_name(f"{into.name}.partial")
    if partial.exists():
        raise Refused(
            f"{partial} exists: another backup is being written, or one was interrupted; remove it "
            "in the second case"
        )
    partial.mkdir(parents=True)
    try:
        inherited = _Copy(settings, partial, link).run(file)
        _describe(partial)
        sync_tree(partial)
        integrity.seal(partial)
        faults = [*inherited, *_damage(partial)]
        partial.rename(into)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync(into.parent)
    sizes = [path.stat().st_size for path in into.rglob("*") if path.is_file()]
    return Result(into, len(sizes), sum(sizes), faults)


class _Copy:
    def __init__(self, settings: Settings, into: Path, link: bool) -> None:
        data_dir = settings.data_dir.resolve()
        self._settings = settings
        self._warning = into / settings.data_warning_file.name
        self._from = places(settings)
        self._into = {
            kind: into / place.relative_to(data_dir) for kind, place in self._from.items()
        }
        self._database = into / DATABASE
        self._link = link

    def run(self, database: Path) -> list[str]:
        """Copy everything; return what the data directory or the database lacks itself."""
        for place in self._into.values():
            place.mkdir(parents=True)
        for job_id in on_disk(self._from["checkpoints"]):
            self._take_checkpoints(job_id)
        for _ in range(PASSES):
            sqlite_copy.copy(database, self._database)
            copied = _known(self._database)
            missing = [
                f"{self._from[kind] / name} is missing, although the database names it"
                for kind in ("models", "datasets")
                for name in sorted(copied.named(kind))
                if not self._take(kind, name)
            ]
            if _all_exist(copied, _known(database)):
                self._remove_unnamed(copied)
                return [*missing, *self._take_unknown(database)]
            # Files of a row that was deleted meanwhile may be incomplete.
            self._remove_unnamed(_known(database))
        raise Refused("models or data sets are being deleted all the time; try again later")

    def _take_unknown(self, database: Path) -> Iterator[str]:
        """Take artifacts without a row, and yield a line for each."""
        found = unknown(database, self._settings)
        for kind, name in found:
            if kind == "checkpoints":
                self._take_checkpoints(name)
            else:
                self._take(kind, name)
            yield (
                f"{self._from[kind] / name} has no row in the database; the backup holds it, and "
                "`epochd adopt` can register models and data sets"
            )
        if found:
            # The service that starts on the restored backup must not take them for orphans.
            write(self._warning, DOUBT.encode())

    def _take_checkpoints(self, job_id: str) -> None:
        """Take a job's checkpoints. The job may replace them by newer ones, or delete them."""
        source, target = self._from["checkpoints"] / job_id, self._into["checkpoints"] / job_id
        target.mkdir()
        for _ in range(CHECKPOINT_TRIES):
            try:
                for path in sorted(source.glob("[!.]*"), reverse=True):
                    self._take_file(path, target / path.name)
            except FileNotFoundError:
                continue
            return

    def _take(self, kind: Kind, name: str) -> bool:
        """Take a model or data set; return whether it is there."""
        source, target = self._from[kind] / name, self._into[kind] / name
        if target.exists():
            return True
        try:
            target.mkdir()
            for path in sorted(source.iterdir()):
                # Hidden files are unfinished, and an artifact has no directories.
                if not path.name.startswith(".") and not path.is_dir():
                    self._take_file(path, target / path.name)
        except FileNotFoundError:
            shutil.rmtree(target)
            return False
        return True

    def _take_file(self, source: Path, target: Path) -> None:
        if target.exists():
            return
        if self._link:
            try:
                target.hardlink_to(source)
                return
            except OSError as error:
                if error.errno not in NO_LINK:
                    raise
        shutil.copy2(source, target)

    def _remove_unnamed(self, known: Known) -> None:
        wanted = {
            "models": known.models,
            "datasets": known.datasets,
            "checkpoints": known.resumable,
        }
        for kind, place in self._into.items():
            for name in on_disk(place) - wanted[kind]:
                shutil.rmtree(place / name)


def _known(database: Path) -> Known:
    with reading(database) as session:
        return Known.of(session)


def _all_exist(copied: Known, now: Known) -> bool:
    """Return whether all rows of a copy still exist. Rows are deleted before their files."""
    return copied.models <= now.models and copied.datasets <= now.datasets


def _describe(directory: Path) -> None:
    with reading(directory / DATABASE) as session:
        description = Description(
            epochd_version=__version__,
            schema_revision=revision_of(session),
            instance=instance_of(session),
            created_at=datetime.now(UTC),
        )
    write(directory / DESCRIPTION, description.model_dump_json(indent=2).encode())
    if description.instance:
        write(directory / "instance", f"{description.instance}\n".encode())


def _damage(directory: Path) -> list[str]:
    """Return the damage that files had before they were taken."""
    sealed = [path.parent for path in directory.glob(f"*/**/{integrity.CHECKSUMS}")]
    found: list[Damaged] = [fault for place in sealed for fault in integrity.faults(place)]
    return [f"{fault.path.relative_to(directory)} {fault.fault}" for fault in found]
