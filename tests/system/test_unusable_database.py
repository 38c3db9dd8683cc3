"""`epochd serve` on a database that it cannot use: one line, and exit code 1."""

import os
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.system.server import EPOCHD_SERVE, PATIENCE


def put_garbage(directory: Path) -> None:
    (directory / "epochd.db").write_bytes(b"garbage " * 4096)


def put_later_version(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "epochd.db")) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")


def put_nothing(directory: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("prepare", "environment", "message"),
    [
        (put_garbage, {}, "epochd.db is damaged; restore a backup"),
        (put_garbage, {"EPOCHD_WEB_WORKERS": "2"}, "epochd.db is damaged; restore a backup"),
        (put_later_version, {}, "has schema revision 9999, which epochd"),
        (
            put_nothing,
            {"EPOCHD_DATABASE_URL": "postgresql+pg8000://host/db"},
            "the driver of postgresql+pg8000 is not installed",
        ),
    ],
)
def test_the_reason_is_one_line(
    tmp_path: Path,
    prepare: Callable[[Path], None],
    environment: dict[str, str],
    message: str,
) -> None:
    prepare(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.db")}
    done = subprocess.run(
        EPOCHD_SERVE,
        env=os.environ | {"EPOCHD_DATA_DIR": str(tmp_path), "EPOCHD_PORT": "0"} | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count(message) == 1
    assert {path: path.read_bytes() for path in tmp_path.glob("*.db")} == before
