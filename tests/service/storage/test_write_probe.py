"""The readiness check that writes, on a real SQLite file."""

from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import text

from service.storage import write_probe
from service.storage.database import Database
from service.storage.write_probe import WriteProbe
from tests.service.storage.locks import locked


def messages(probe: WriteProbe) -> list[str]:
    return [finding.message for finding in probe.findings() if finding.blocking]


def test_a_database_that_cannot_be_written_is_told(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_probe, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(write_probe, "INTERVAL_SECONDS", 0.0)
    probe = WriteProbe(database)
    assert messages(probe) == []
    with locked(tmp_path / "epochd.db"):
        assert messages(probe) == [
            "the database is busy: another transaction has held its lock for too long"
        ]
    assert messages(probe) == []
    # As after a change to a read-only file system.
    connection = database._writers.raw_connection()
    connection.cursor().execute("PRAGMA query_only=ON")
    connection.close()
    assert messages(probe) == ["the database cannot be written: it is read-only"]


def test_it_writes_at_most_once_a_second(database: Database) -> None:
    probe = WriteProbe(database)
    before = changes(database)
    for _ in range(5):
        assert messages(probe) == []
    assert changes(database) == before + 1


def changes(database: Database) -> int:
    """Return the number of rows changed by the one connection that writes."""
    with database._writers.connect() as connection:
        return int(connection.scalar(text("SELECT total_changes()")) or 0)


def test_probes_do_not_queue(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, leave = Event(), Event()

    def hang(_: WriteProbe) -> None:
        begun.set()
        leave.wait()

    monkeypatch.setattr(WriteProbe, "_probe", hang)
    probe = WriteProbe(database)
    first = Thread(target=messages, args=(probe,))
    first.start()
    begun.wait()
    assert messages(probe) == []
    leave.set()
    first.join()
