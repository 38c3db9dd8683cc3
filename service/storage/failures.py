"""Errors of a database, told apart by what can be done about them."""

import sqlite3
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError

RETRY_SECONDS = 1
LONG_RETRY_SECONDS = 10


@dataclass(frozen=True)
class Failure:
    """A reason for which the database cannot be used at present."""

    reason: str
    """Completes the sentence `the database …`."""
    retry_after: int = LONG_RETRY_SECONDS
    """Seconds after which another try makes sense."""
    passes: bool = True
    """Whether it passes without repair: a lock, a full disk or a lost connection."""


BUSY = Failure("is busy: another transaction has held its lock for too long", RETRY_SECONDS)
DAMAGED = "is damaged; restore a backup with `epochd restore`"
SQLITE_FAILURES = {
    sqlite3.SQLITE_BUSY: BUSY,
    sqlite3.SQLITE_LOCKED: BUSY,
    sqlite3.SQLITE_FULL: Failure("cannot be written: the disk is full"),
    sqlite3.SQLITE_READONLY: Failure("cannot be written: it is read-only"),
    sqlite3.SQLITE_IOERR: Failure("cannot be read or written: the disk reports an error"),
    sqlite3.SQLITE_CANTOPEN: Failure("cannot be opened"),
    sqlite3.SQLITE_PERM: Failure("cannot be opened: permission denied"),
    sqlite3.SQLITE_CORRUPT: Failure(DAMAGED, passes=False),
    sqlite3.SQLITE_NOTADB: Failure(DAMAGED, passes=False),
}
# SQLSTATE: lock_not_available and deadlock_detected.
POSTGRESQL_BUSY = {"55P03", "40P01"}
POSTGRESQL_FULL = {"53100"}


def diagnose(error: BaseException) -> Failure | None:
    """Return why the database cannot be used; None for any other error, which is a bug."""
    if isinstance(error, TimeoutError):  # of a pool, or of the gate of writers
        return BUSY
    if not isinstance(error, DBAPIError):
        return None
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", 0)
        return SQLITE_FAILURES.get(code & 0xFF)  # the low byte of an extended code
    state = getattr(error.orig, "sqlstate", None)
    if state in POSTGRESQL_BUSY:
        return BUSY
    if state in POSTGRESQL_FULL:
        return SQLITE_FAILURES[sqlite3.SQLITE_FULL]
    if isinstance(error, OperationalError | InterfaceError):
        return Failure(f"does not respond: {_first_line(error.orig)}")
    return None


def _first_line(error: object) -> str:
    return str(error).partition("\n")[0]
