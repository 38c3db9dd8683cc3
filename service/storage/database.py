"""The database: sessions, SQLite pragmas and schema migrations."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.readiness import Finding

PRAGMAS = (
    "journal_mode=WAL",  # readers never wait for the writer
    "synchronous=FULL",  # commits survive a power cut
    "busy_timeout=30000",  # milliseconds to wait for another writer
    "foreign_keys=ON",
)


class Database:
    """A database that several threads and processes may use at once."""

    def __init__(self, url: str) -> None:
        sqlite = make_url(url).get_backend_name() == "sqlite"
        self._engine = create_engine(url, pool_pre_ping=not sqlite)
        self._writing = self._engine.execution_options(writing=True)
        if sqlite:
            event.listen(self._engine, "connect", _prepare)
            event.listen(self._engine, "begin", _begin)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that reads one consistent state of the database."""
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in a transaction that is committed at the end."""
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def migrate(self) -> None:
        """Upgrade the schema to this version."""
        with self._writing.begin() as connection:
            command.upgrade(migrations(connection), "head")

    def findings(self) -> Iterator[Finding]:
        """Check that the database responds."""
        try:
            with self.read() as session:
                session.execute(text("SELECT 1"))
        except SQLAlchemyError as error:
            yield Finding(f"the database does not respond: {error}", blocking=True)

    def close(self) -> None:
        self._engine.dispose()


def migrations(connection: Connection) -> Config:
    """Return Alembic's configuration. Its scripts are inside an installed package, or beside it in
    a checkout."""
    here = Path(__file__).parents[1]
    scripts = next(p for p in (here / "migrations", here.parent / "migrations") if p.is_dir())
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.attributes["connection"] = connection
    return config


def _prepare(connection: Any, _record: object) -> None:
    # The driver would begin transactions only at the first write; `_begin` does so instead.
    connection.isolation_level = None
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A transaction that reads before it writes fails, instead of waiting, if another writes in
    # between; a writer therefore takes the lock at once.
    writing = connection.get_execution_options().get("writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
