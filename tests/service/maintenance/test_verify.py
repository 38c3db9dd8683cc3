"""Faults of a data directory."""

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from service.maintenance import snapshot
from service.maintenance.snapshot import Refused
from service.maintenance.verify import verify
from service.settings import Settings
from tests.service.maintenance.conftest import Installation
from tests.service.maintenance.test_backup import flip


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "SECOND_LOOK_SECONDS", 0)


def execute(installed: Installation, statement: str) -> None:
    with closing(sqlite3.connect(installed.database)) as connection:
        connection.execute(statement)
        connection.commit()


def test_intact_data_directory_has_no_faults(installed: Installation) -> None:
    assert [*verify(installed.settings)] == []


FAULTS: list[tuple[Callable[[Installation], object], str]] = [
    (lambda i: flip(i.model / "model.safetensors"), "model line@1: .*model.safetensors"),
    (lambda i: (i.model / "model.json").unlink(), "model line@1: .*model.json"),
    (lambda i: (i.model / "model.json").write_text("{}"), "model line@1: "),
    (lambda i: shutil.rmtree(i.model), "model line@1: .* is missing"),
    (lambda i: flip(i.rows / "table.parquet"), "data set ds_.*: .*table.parquet"),
    (lambda i: shutil.rmtree(i.rows), "data set ds_.* is missing"),
    (lambda i: flip(next(i.rows.glob("*.row.json"))), "data set ds_.*row.json"),
    (
        lambda i: flip(next((i.settings.checkpoints_dir / i.paused).iterdir())),
        r"\.pt is not as it was written",
    ),
    (lambda i: (i.settings.models_dir / "job_x-1").mkdir(), "job_x-1 has no row in the database"),
    (lambda i: (i.settings.checkpoints_dir / "job_x").mkdir(), "job_x has no row"),
    (lambda i: i.settings.instance_file.write_text("other"), "do not belong together"),
    (
        lambda i: execute(
            i,
            "INSERT INTO attempts (job_id, attempt, trainer, started_at, heartbeat_at) "
            "VALUES ('job_x', 1, 't', '', '')",
        ),
        r"row \d of attempts refers to a row of jobs",
    ),
    (lambda i: execute(i, "UPDATE alembic_version SET version_num = '9999'"), "a newer version"),
    (lambda i: i.database.write_bytes(b"not a database" * 1000), "cannot be read: "),
    (lambda i: execute(i, "DROP TABLE model_versions"), "cannot be read: no such table"),
]


@pytest.mark.parametrize(("damage", "told"), FAULTS, ids=[told for _, told in FAULTS])
def test_every_fault_is_reported_in_one_line(
    damage: Callable[[Installation], object], told: str, installed: Installation
) -> None:
    damage(installed)
    faults = [*verify(installed.settings)]
    assert len(faults) == 1 or "row.json" not in told
    assert any(re.search(told, fault) for fault in faults), faults
    assert all("\n" not in fault for fault in faults)


def test_missing_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="set EPOCHD_DATA_DIR"):
        [*verify(Settings(data_dir=tmp_path))]
