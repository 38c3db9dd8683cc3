"""Backups and their restoration."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ml import integrity
from service.app import create_app
from service.datasets.store import DatasetStore
from service.maintenance import snapshot
from service.maintenance.adopt import adopt
from service.maintenance.backup import back_up
from service.maintenance.restore import restore
from service.maintenance.snapshot import Refused
from service.maintenance.verify import verify, verify_backup
from service.settings import Settings
from service.storage.database import Database
from tests.service.maintenance.conftest import Installation, add_model, predict


def restored(backup: Path, into: Path) -> Settings:
    settings = Settings(data_dir=into, trainers=0)
    into.mkdir()
    restore(settings, backup)
    return settings


@pytest.mark.parametrize("link", [True, False])
def test_restored_backup_predicts_the_same(
    link: bool, installed: Installation, tmp_path: Path
) -> None:
    result = back_up(installed.settings, tmp_path / "backup", link)
    assert result.faults == []
    assert [*verify_backup(tmp_path / "backup")] == []
    copy = tmp_path / "backup" / "models" / installed.model.name / "model.safetensors"
    assert copy.samefile(installed.model / "model.safetensors") == link
    settings = restored(tmp_path / "backup", tmp_path / "restored")
    assert [*verify(settings)] == []
    assert predict(settings) == installed.predict()
    checkpoint = settings.checkpoints_dir / installed.paused
    assert len(list(checkpoint.iterdir())) == 1
    assert not (settings.checkpoints_dir / installed.job_id).exists()
    assert settings.instance_file.read_text() == installed.settings.instance_file.read_text()
    # A restored file is never the backup's own.
    assert not copy.samefile(settings.models_dir / installed.model.name / "model.safetensors")


def test_backup_describes_its_origin_and_files(installed: Installation, tmp_path: Path) -> None:
    result = back_up(installed.settings, tmp_path / "backup")
    description = json.loads((tmp_path / "backup" / "backup.json").read_text())
    assert description["instance"] == installed.settings.instance_file.read_text().strip()
    assert description["schema_revision"]
    files = json.loads((tmp_path / "backup" / integrity.CHECKSUMS).read_text())["files"]
    assert result.files == len(files) + 1
    assert {"epochd.db", "backup.json", f"models/{installed.model.name}/model.json"} <= files.keys()


def test_backup_into_a_link_and_not_into_a_mount_point(
    installed: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    result = back_up(installed.settings, tmp_path / "link")
    assert result.directory == tmp_path / "disk"
    assert [*verify_backup(tmp_path / "link")] == []
    (tmp_path / "mounted").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "mounted")
    with pytest.raises(Refused, match=r"is a mount point; choose a directory in it"):
        back_up(installed.settings, tmp_path / "mounted")
    assert [*(tmp_path / "mounted").iterdir()] == []


def test_failed_backup_leaves_nothing_and_overwrites_nothing(
    installed: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = tmp_path / "backup"
    (tmp_path / "empty").mkdir()
    back_up(installed.settings, tmp_path / "empty")
    with pytest.raises(Refused, match="exists and is not empty"):
        back_up(installed.settings, tmp_path / "empty")
    with pytest.raises(Refused, match="there is no database"):
        back_up(Settings(data_dir=tmp_path / "elsewhere"), backup)
    postgres = installed.settings.model_copy(update={"database_url": "postgresql://h/d"})
    with pytest.raises(Refused, match="pg_dump"):
        back_up(postgres, backup)

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(integrity, "seal", full)
    with pytest.raises(OSError, match="no space left"):
        back_up(installed.settings, backup)
    assert not backup.exists()
    backup.with_name("backup.partial").mkdir()
    with pytest.raises(Refused, match="remove it in the second case"):
        back_up(installed.settings, backup)


def test_backup_reports_missing_artifacts(installed: Installation, tmp_path: Path) -> None:
    shutil.rmtree(installed.model)
    result = back_up(installed.settings, tmp_path / "backup")
    assert result.faults == [f"{installed.model} is missing, although the database names it"]
    assert any("line@1" in fault for fault in verify_backup(tmp_path / "backup"))


def test_unknown_artifacts_are_in_the_backup_and_named(
    installed: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "SECOND_LOOK_SECONDS", 0)
    settings = installed.settings
    shutil.copy2(installed.database, tmp_path / "older.db")
    second, paused = add_model(settings)
    for path in settings.data_dir.glob("epochd.db*"):
        path.unlink()
    shutil.copy2(tmp_path / "older.db", installed.database)
    lost = [settings.checkpoints_dir / paused, settings.models_dir / f"{second}-1"]
    (lost[1] / "directory").mkdir()
    result = back_up(settings, tmp_path / "backup")
    assert [fault.split(" ")[0] for fault in result.faults] == [str(path) for path in lost]
    assert all("has no row in the database" in fault for fault in result.faults)
    assert len([*verify_backup(tmp_path / "backup")]) == 2
    into = restored(tmp_path / "backup", tmp_path / "restored")
    with TestClient(create_app(into)) as client:
        assert client.get("/health/ready").json()["status"] == "degraded"
    assert (into.checkpoints_dir / paused).exists()
    assert "adopted the model line@2" in str([*adopt(into, None, dry_run=False)])
    with TestClient(create_app(into)) as client:
        assert client.get("/health/ready").json()["status"] == "ok"


def test_rows_and_files_agree_after_a_concurrent_delete(
    installed: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    original = shutil.copy2
    database = Database(installed.settings.sqlalchemy_url)
    store = DatasetStore(database, installed.settings)

    def copy(source: Path, target: Path) -> None:
        original(source, target)
        if "uploads" in str(source) and not copied:
            copied.append(str(source))
            store.delete(installed.dataset, force=True)

    monkeypatch.setattr(shutil, "copy2", copy)
    result = back_up(installed.settings, tmp_path / "backup", link=False)
    database.close()
    assert copied
    assert result.faults == []
    assert list((tmp_path / "backup" / "datasets" / "uploads").iterdir()) == []
    assert [*verify_backup(tmp_path / "backup")] == []


def test_files_are_copied_where_links_are_refused(
    installed: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    back_up(installed.settings, tmp_path / "backup")
    assert [*verify_backup(tmp_path / "backup")] == []


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda backup: flip(next(backup.glob("models/*/model.safetensors"))),
        lambda backup: flip(backup / "epochd.db"),
        lambda backup: (backup / "epochd.db").unlink(),
        lambda backup: next(backup.glob("datasets/uploads/*/table.parquet")).unlink(),
        lambda backup: os.truncate(backup / "backup.json", 10),
        lambda backup: (backup / "checksums.json").unlink(),
    ],
)
def test_damaged_backup_is_not_restored(
    damage: Callable[[Path], object], installed: Installation, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    back_up(installed.settings, backup, link=False)
    damage(backup)
    assert [*verify_backup(backup)] != []
    target = tmp_path / "restored"
    with pytest.raises(Refused, match="the backup is damaged"):
        restored(backup, target)
    assert list(target.iterdir()) == []


def test_restore_requires_an_empty_directory(installed: Installation, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    back_up(installed.settings, backup)
    with pytest.raises(Refused, match="is not empty"):
        restore(installed.settings, backup)
    with pytest.raises(Refused, match="is not a backup"):
        restored(tmp_path / "data", tmp_path / "a")
    elsewhere = Settings(
        data_dir=tmp_path / "b", database_url=f"sqlite:///{tmp_path}/elsewhere/my.db"
    )
    elsewhere.data_dir.mkdir()
    restore(elsewhere, backup)
    assert [*verify(elsewhere)] == []
    assert not (tmp_path / "b" / "epochd.db").exists()
    shutil.rmtree(elsewhere.data_dir)
    elsewhere.data_dir.mkdir()
    with pytest.raises(Refused, match=r"the database .*my\.db exists"):
        restore(elsewhere, backup)


def test_copy_of_a_database_in_use_is_one_file(installed: Installation, tmp_path: Path) -> None:
    database = Database(installed.settings.sqlalchemy_url)
    with database.write():  # another transaction is being written
        back_up(installed.settings, tmp_path / "backup")
    database.close()
    names = {path.name for path in (tmp_path / "backup").iterdir() if path.is_file()}
    assert names == {"backup.json", "checksums.json", "epochd.db", "instance"}
    with sqlite3.connect(tmp_path / "backup" / "epochd.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()
