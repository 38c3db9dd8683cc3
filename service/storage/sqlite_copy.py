"""Copies of an SQLite database, also of one in use."""

import glob
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, make_url

from ml.files import sync
from service.errors import DatabaseUnusable

logger = logging.getLogger(__name__)

BEFORE = ".before-"
KEPT = 3


def file_of(url: str | URL) -> Path | None:
    """Return the file of a database, or None if it is not one of SQLite."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database)).absolute()


def keep_before_migration(connection: Connection, config: Config) -> None:
    """Copy the database to `<file>.before-<revision>` if it is about to be migrated to that
    revision, and delete all but the newest `KEPT` copies.

    Raises:
        DatabaseUnusable: the copy failed; the database is as it was.
    """
    file = file_of(connection.engine.url)
    current = MigrationContext.configure(connection).get_current_revision()
    head = ScriptDirectory.from_config(config).get_current_head()
    if file is None or current in (None, head):
        return
    kept = file.with_name(f"{file.name}{BEFORE}{head}")
    try:
        copy(file, kept)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseUnusable(
            f"cannot copy the database to {kept} before migrating it: {error}"
        ) from error
    logger.info("copied the database to %s before migrating it", kept)
    copies = sorted(file.parent.glob(f"{glob.escape(file.name)}{BEFORE}*"), key=_modified)
    for old in copies[:-KEPT]:
        old.unlink(missing_ok=True)


def _modified(path: Path) -> float:
    return path.stat().st_mtime


def read_only(file: Path) -> str:
    """Return SQLite's URI of a file that is only read."""
    return f"file:{quote(str(file))}?mode=ro"


def copy(source: Path, target: Path) -> None:
    """Copy a database as of one moment, without keeping others from writing to it. The copy is one
    file, and appears when it is complete.

    Raises:
        OSError, sqlite3.Error: the copy failed.
    """
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        with (
            closing(sqlite3.connect(read_only(source), uri=True)) as original,
            closing(sqlite3.connect(partial)) as duplicate,
        ):
            original.backup(duplicate)
            duplicate.execute("PRAGMA journal_mode=DELETE")
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    sync(target.parent)
