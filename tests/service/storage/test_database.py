"""Readers and writers on a real SQLite file, and files that are none or are damaged."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from service.errors import DatabaseUnusable
from service.storage.database import Database, writing_within
from service.storage.failures import BUSY, diagnose
from tests.service.storage.locks import locked

WRITERS = 60


def file_of(tmp_path: Path) -> Path:
    return tmp_path / "epochd.db"


def test_waiting_writers_keep_no_reader_waiting(database: Database, tmp_path: Path) -> None:
    def write(_: int) -> bool:
        try:
            with writing_within(3), database.write() as session:
                session.execute(text("DELETE FROM jobs"))
        except SQLAlchemyError as error:
            return diagnose(error) is BUSY
        return False

    def read(_: int) -> int:
        with database.read() as session:
            return int(session.scalar(text("SELECT count(*) FROM jobs")) or 0)

    with ThreadPoolExecutor(WRITERS) as writers, ThreadPoolExecutor(30) as readers:
        with locked(file_of(tmp_path)):
            writing = [writers.submit(write, number) for number in range(WRITERS)]
            assert list(readers.map(read, range(300))) == [0] * 300
            assert not any(write.done() for write in writing)
            assert all(write.result() for write in writing)
        assert not write(0)


def test_a_transaction_that_waits_for_a_lock_goes_on_when_it_is_free(
    database: Database, tmp_path: Path
) -> None:
    def write() -> str:
        with database.write() as session:
            session.execute(text("DELETE FROM jobs"))
        return "done"

    with ThreadPoolExecutor(1) as pool:
        with locked(file_of(tmp_path)):
            writing = pool.submit(write)
            assert not writing.done()
        assert writing.result() == "done"


def put_garbage(file: Path) -> None:
    file.write_bytes(b"garbage " * 4096)


def cut_off(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2 // 4096 * 4096)


def damage_a_page(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(-3 * 4096, 2)
        opened.write(b"\xff" * 4096)


@pytest.mark.parametrize("damage", [put_garbage, cut_off, damage_a_page])
def test_a_damaged_file_is_named_with_what_to_do(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    whole = Database(f"sqlite:///{file_of(tmp_path)}")
    whole.migrate()
    whole.close()
    damage(file_of(tmp_path))
    database = Database(f"sqlite:///{file_of(tmp_path)}")
    with pytest.raises(DatabaseUnusable, match="is damaged; restore a backup") as refused:
        database.migrate()
    assert str(file_of(tmp_path)) in str(refused.value)
    assert "\n" not in str(refused.value)
    database.close()


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{file_of(tmp_path)}")
    database.migrate()
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseUnusable, match=r"schema revision 9999, which epochd .* not know"):
        database.migrate()
    database.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("epochd.db", "is not the URL of a database; write it like postgresql"),
        ("oracle9://host/db", "oracle9 is not supported; use postgresql"),
        ("mysql+mysqldb://host/db", r"mysql\+mysqldb is not supported; use postgresql"),
        ("postgresql+pg8000://host/db", r"is not installed .*; use postgresql\+psycopg"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_would_be_right(url: str, message: str) -> None:
    with pytest.raises(DatabaseUnusable, match=message):
        Database(url)


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/missing/epochd.db")
    with pytest.raises(DatabaseUnusable, match=r"missing/epochd.db cannot be opened"):
        database.migrate()
    database.close()


def test_a_file_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    database = Database(f"sqlite:///file:{tmp_path}/epochd.db?mode=ro&uri=true")
    with closing(sqlite3.connect(file_of(tmp_path))) as connection:
        connection.execute("CREATE TABLE jobs (id)")
    with pytest.raises(DatabaseUnusable, match="read-only"):
        database.migrate()
    database.close()
