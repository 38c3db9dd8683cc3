"""The database of a data directory or of a backup, only read."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, select, text
from sqlalchemy.orm import Session

from service.settings import Settings
from service.storage import sqlite_copy
from service.storage.artifacts import Kind, Known, on_disk, places
from service.storage.tables import InstanceRow

DATABASE = "epochd.db"
SECOND_LOOK_SECONDS = 1.0


class Refused(Exception):
    """The command cannot do its work; the message says why, and the way out."""


def database_file(settings: Settings) -> Path:
    """Return the file of the database.

    Raises:
        Refused: it is not an SQLite database.
    """
    file = sqlite_copy.file_of(settings.sqlalchemy_url)
    if file is None:
        raise Refused(
            "EPOCHD_DATABASE_URL is not of an SQLite file: dump the database with its own tool "
            "(pg_dump), then copy the directories models and datasets/uploads, which are complete "
            "and unchanging"
        )
    return file


@contextmanager
def reading(file: Path) -> Iterator[Session]:
    """Read a database as of one moment, without writing to its directory more than SQLite must."""
    engine = create_engine(f"sqlite:///{sqlite_copy.read_only(file)}&uri=true")
    try:
        with Session(engine) as session:
            session.execute(text("BEGIN"))
            yield session
    finally:
        engine.dispose()


def revision_of(session: Session) -> str | None:
    """Return the revision of the database's schema, or None if it has none."""
    return MigrationContext.configure(session.connection()).get_current_revision()


def instance_of(session: Session) -> str | None:
    """Return the id in the database, or None if it has none, like those of earlier versions."""
    if not inspect(session.connection()).has_table(InstanceRow.__tablename__):
        return None
    return session.scalar(select(InstanceRow.id))


def unknown(database: Path, settings: Settings) -> list[tuple[Kind, str]]:
    """Return the artifacts without a row. On a second look a row has been committed that was about
    to be, and deleted files are gone."""
    found: set[tuple[Kind, str]] = set()
    for look in range(2):
        with reading(database) as session:
            known = Known.of(session)
        without_row = {
            (kind, name)
            for kind, place in places(settings).items()
            for name in on_disk(place) - known.named(kind)
            if not known.is_leftover(kind, name)
        }
        found = without_row if look == 0 else found & without_row
        if not found:
            break
        if look == 0:
            time.sleep(SECOND_LOOK_SECONDS)
    return sorted(found)
