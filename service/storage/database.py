"""The database: sessions of readers and writers, SQLite pragmas and schema migrations."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError, TimeoutError
from sqlalchemy.orm import Session

from ml import __version__
from service.errors import DatabaseUnusable
from service.storage import sqlite_copy
from service.storage.failures import DAMAGED, diagnose

PRAGMAS = (
    "journal_mode=WAL",  # readers never wait for the writer
    "synchronous=FULL",  # commits survive a power cut
    "busy_timeout=5000",  # milliseconds; a writer sets its own
    "foreign_keys=ON",
)
BACKENDS = {"sqlite", "postgresql"}
READERS = 20
MAX_READERS = 60
"""More than the threads of a web process."""
WRITERS = 4
"""Concurrent transactions that write, where the database allows several; SQLite allows one."""
PATIENCE_SECONDS = 5.0
"""Seconds for which a transaction waits for its turn to write, and a reader for a connection."""
MIGRATION_PATIENCE_SECONDS = 30.0
CHECK_SECONDS = 2.0
CHECK_INSTRUCTIONS = 10_000
"""Instructions of SQLite's machine between two looks at the clock."""

_write_by: ContextVar[float | None] = ContextVar("write_by", default=None)
"""Time (`time.monotonic`) by which this context's transactions must have their turn to write."""


@contextmanager
def writing_within(seconds: float) -> Iterator[None]:
    """Within the block, bound the wait of transactions that write for their turn."""
    before = _write_by.get()
    _write_by.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _write_by.set(before)  # not `reset`, since a framework may leave the block elsewhere


class Database:
    """A database that several threads and processes may use at once.

    Readers and writers have connections of their own, so that writers that wait for a lock never
    keep a reader waiting.
    """

    def __init__(self, url: str, patience: float = PATIENCE_SECONDS) -> None:
        """`patience` is the time for which transactions that write wait for their turn."""
        address = _parsed(url)
        self._is_sqlite = sqlite = address.get_backend_name() == "sqlite"
        self._name = address.database if sqlite else address.render_as_string(hide_password=True)
        writers = 1 if sqlite else WRITERS
        self._readers = _engine(address, READERS, MAX_READERS - READERS)
        self._writers = _engine(address, writers, 0)
        self._patience = patience
        self._gate = threading.BoundedSemaphore(writers)
        event.listen(self._writers, "begin", _begin_immediate if sqlite else _limit_lock_wait)
        if sqlite:
            event.listen(self._readers, "begin", _begin)
            for engine in (self._readers, self._writers):
                event.listen(engine, "connect", _prepare)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that reads one consistent state of the database."""
        with Session(self._readers, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in a transaction that is committed at the end.

        Raises:
            SQLAlchemyError: among others, if it does not get its turn in time.
        """
        now = time.monotonic()
        deadline = _write_by.get() or now + self._patience
        if not self._gate.acquire(timeout=max(0.0, deadline - now)):
            raise TimeoutError("other transactions of this process are writing")
        try:
            with Session(self._writers, expire_on_commit=False) as session:
                wait = max(0.0, deadline - time.monotonic())
                session.connection(execution_options={"patience": wait})
                yield session
                session.commit()
        finally:
            self._gate.release()

    def migrate(self) -> None:
        """Upgrade the schema to this version.

        Raises:
            DatabaseUnusable: the database cannot be opened, is damaged, or is of a later version.
        """
        try:
            writers = self._writers.execution_options(patience=MIGRATION_PATIENCE_SECONDS)
            with writers.begin() as connection:
                config = migrations(connection)
                if self._is_sqlite:
                    self._check_pages(connection)
                if (revision := later_revision(connection)) is not None:
                    newest = ScriptDirectory.from_config(config).get_current_head()
                    raise DatabaseUnusable(
                        f"the database {self._name} has schema revision {revision}, which epochd "
                        f"{__version__} does not know (its newest is {newest}); "
                        "run the later epochd that upgraded it, or restore the backup made before"
                    )
                sqlite_copy.keep_before_migration(connection, config)
                command.upgrade(config, "head")
        except SQLAlchemyError as error:
            raise self.unusable(error) from error

    def unusable(self, error: SQLAlchemyError) -> DatabaseUnusable:
        """Return the error, in one line, for a service that cannot start because of `error`."""
        failure = diagnose(error)
        reason = failure.reason if failure else f"cannot be used: {_one_line(error)}"
        return DatabaseUnusable(f"the database {self._name} {reason}")

    def close(self) -> None:
        self._readers.dispose()
        self._writers.dispose()

    def _check_pages(self, connection: Connection) -> None:
        """Look for damaged pages, in a large file for `CHECK_SECONDS`."""
        driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        until = time.monotonic() + CHECK_SECONDS
        driver.set_progress_handler(lambda: time.monotonic() > until, CHECK_INSTRUCTIONS)
        try:
            found = driver.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError:  # interrupted
            return
        except sqlite3.DatabaseError as error:
            found = str(error)
        finally:
            driver.set_progress_handler(None, 0)
        if found != "ok":
            raise DatabaseUnusable(f"the database {self._name} {DAMAGED} ({_one_line(found)})")


def serialize(session: Session, lock: int) -> None:
    """Let transactions of this kind, which count before they write, take turns until they are
    committed. On SQLite, all transactions that write do."""
    if session.get_bind().dialect.name != "sqlite":
        session.execute(select(func.pg_advisory_xact_lock(lock)))


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def migrations(connection: Connection) -> Config:
    """Return Alembic's configuration. Its scripts are inside an installed package, or beside it in
    a checkout."""
    here = Path(__file__).parents[1]
    scripts = next(p for p in (here / "migrations", here.parent / "migrations") if p.is_dir())
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.attributes["connection"] = connection
    return config


def later_revision(connection: Connection) -> str | None:
    """Return the revision of a database that a later version has migrated, else None."""
    scripts = ScriptDirectory.from_config(migrations(connection))
    known = {script.revision for script in scripts.walk_revisions()}
    heads = MigrationContext.configure(connection).get_current_heads()
    return next((revision for revision in heads if revision not in known), None)


def _parsed(url: str) -> URL:
    """Return the URL, whose driver is installed."""
    try:
        address = make_url(url)
    except ArgumentError:
        raise DatabaseUnusable(
            "EPOCHD_DATABASE_URL is not the URL of a database; write it like "
            "postgresql+psycopg://user:password@host/database"
        ) from None
    try:
        supported = address.get_backend_name() in BACKENDS
        dialect = address.get_dialect() if supported else None
    except NoSuchModuleError:
        dialect = None
    if dialect is None:
        raise DatabaseUnusable(
            f"EPOCHD_DATABASE_URL: {address.drivername} is not supported; use "
            "postgresql+psycopg or sqlite"
        )
    try:
        dialect.import_dbapi()
    except ImportError as error:
        raise DatabaseUnusable(
            f"EPOCHD_DATABASE_URL: the driver of {address.drivername} is not installed ({error}); "
            "use postgresql+psycopg, and install it with pip install 'psycopg[binary]'"
        ) from None
    return address


def _engine(address: URL, size: int, overflow: int) -> Engine:
    return create_engine(
        address,
        pool_size=size,
        max_overflow=overflow,
        pool_timeout=PATIENCE_SECONDS,
        pool_pre_ping=address.get_backend_name() != "sqlite",
    )


def _prepare(connection: Any, _record: object) -> None:
    # The driver would begin transactions only at the first write; `_begin` does so instead.
    connection.isolation_level = None
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_immediate(connection: Connection) -> None:
    # A transaction that reads before it writes fails, instead of waiting, if another writes in
    # between; a writer therefore takes the lock at once.
    connection.exec_driver_sql(f"PRAGMA busy_timeout={_patience_ms(connection)}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _limit_lock_wait(connection: Connection) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, _patience_ms(connection))}")


def _patience_ms(connection: Connection) -> int:
    return int(1000 * connection.get_execution_options().get("patience", PATIENCE_SECONDS))
