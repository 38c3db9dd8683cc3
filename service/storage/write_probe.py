"""The readiness check that writes to the database."""

import threading
import time
from collections.abc import Iterator

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from service.readiness import Finding
from service.storage.database import Database, writing_within
from service.storage.failures import diagnose

INTERVAL_SECONDS = 1.0
PATIENCE_SECONDS = 2.0


class WriteProbe:
    """Writes to the database, at most once a second, and remembers how that went."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._probing = threading.Lock()
        self._next = 0.0
        self._problem: str | None = None

    def findings(self) -> Iterator[Finding]:
        """Tell whether the database can be written. While another thread finds out, the answer is
        that of the last probe: probes never queue."""
        if time.monotonic() >= self._next and self._probing.acquire(blocking=False):
            try:
                self._problem = self._probe()
                self._next = time.monotonic() + INTERVAL_SECONDS
            finally:
                self._probing.release()
        if self._problem is not None:
            yield Finding(self._problem, blocking=True)

    def _probe(self) -> str | None:
        try:
            with writing_within(PATIENCE_SECONDS), self._database.write() as session:
                # Writes a page, and changes nothing.
                session.execute(text("UPDATE alembic_version SET version_num = version_num"))
        except SQLAlchemyError as error:
            failure = diagnose(error)
            return f"the database {failure.reason if failure else f'does not respond: {error}'}"
        return None
