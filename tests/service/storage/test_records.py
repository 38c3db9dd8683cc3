"""Copies of rows beside their artifacts."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml.errors import Damaged
from service.settings import Settings
from service.storage import records
from service.storage.database import Database
from service.storage.records import DatasetRecord, ModelRecord
from tests.service.storage.test_cleanup import dataset, put

MODEL = ModelRecord("line", 3, "job_a", datetime(2026, 11, 26, tzinfo=UTC))


def test_record_round_trips(tmp_path: Path) -> None:
    records.save(tmp_path, MODEL)
    [path] = records.listed(tmp_path)
    assert records.load(path, ModelRecord) == MODEL
    records.delete(tmp_path, MODEL.key)
    assert records.listed(tmp_path) == []


def test_changed_record_is_damaged(tmp_path: Path) -> None:
    records.save(tmp_path, MODEL)
    [path] = records.listed(tmp_path)
    document = json.loads(path.read_text())
    for changed in (
        json.dumps(document | {"row": document["row"] | {"version": 4}}),
        json.dumps({"row": document["row"]}),
        json.dumps(document | {"row": {}}),
        "[" * 100_000,
        "",
    ):
        path.write_text(changed)
        with pytest.raises(Damaged):
            records.load(path, ModelRecord)


def test_missing_records_are_written(database: Database, settings: Settings) -> None:
    place = put(settings.uploads_dir / "a")
    with database.write() as session:
        session.add_all([dataset("a"), dataset("of deleted files")])
    records.save_missing(database, settings)
    [path] = records.listed(place)
    assert records.load(path, DatasetRecord).id == "ds_a"


def test_record_that_cannot_be_written_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records.save(tmp_path / "missing", MODEL)
    assert "could not write job_a.row.json" in caplog.text
