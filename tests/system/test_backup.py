"""Databases that do not belong to their data directory, and backups of a service at work."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.maintenance.restore import restore
from service.maintenance.verify import verify, verify_backup
from service.settings import Settings
from tests.conftest import LINE
from tests.system.load import ENDLESS, Load
from tests.system.server import Server, serving
from tests.system.test_cli import epochd

INPUTS = {"model": "line", "inputs": [[1.0], [2.5]]}
BACKUPS = 2


@dataclass(frozen=True)
class Original:
    """A data directory with a model, a data set and a checkpoint."""

    folder: Path
    predictions: Any


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    folder = tmp_path_factory.mktemp("original")
    with serving(folder / "data", trainers=1) as server:
        server.run(LINE)
        upload = server.client.post("/datasets?name=pairs", content="x,y\n1,2\n2,4\n")
        assert upload.status_code == 201
        endless = server.submit(ENDLESS)
        server.until(endless, lambda event: event["kind"] == "epoch")
        server.client.post(f"/jobs/{endless}/pause")
        server.wait(endless, "paused")
        return Original(folder, predictions(server))


def files(data: Path) -> dict[str, bytes]:
    """Return every file of models, data sets and checkpoints."""
    places = ("models", "datasets/uploads", "checkpoints")
    paths = [path for place in places for path in (data / place).rglob("*") if path.is_file()]
    return {str(path.relative_to(data)): path.read_bytes() for path in paths}


def predictions(server: Server) -> Any:
    return server.client.post("/predict", json=INPUTS).raise_for_status().json()["predictions"]


def test_another_database_deletes_no_artifacts_and_adopts_them(
    original: Original, tmp_path: Path
) -> None:
    shutil.copytree(original.folder, tmp_path, dirs_exist_ok=True)
    data = tmp_path / "data"
    before = files(data)
    assert len(before) >= 7
    url = f"sqlite:///{tmp_path}/elsewhere.db"
    with serving(data, trainers=0, database_url=url) as server:
        ready = server.client.get("/health/ready")
        assert ready.status_code == 200
        assert ready.json()["status"] == "degraded"
        [line] = ready.json()["warnings"]
        assert "\n" not in line
        assert "1 model" in line
        assert "`epochd adopt`" in line
        server.log.wait_for(re.escape(line))
        server.submit(LINE)
        variables = {"EPOCHD_DATA_DIR": str(data), "EPOCHD_DATABASE_URL": url}
        refused = epochd("adopt", **variables)
        assert refused.returncode == 1
        assert refused.stderr.startswith("another epochd uses")
    assert files(data) == before
    assert not (data / "trash").exists()
    adopted = epochd("adopt", **variables)
    assert adopted.returncode == 0, adopted.stderr
    assert adopted.stdout.count("adopted the ") == 2
    with serving(data, trainers=0, database_url=url) as server:
        assert server.client.get("/health/ready").json() == {"status": "ok", "warnings": []}
        assert predictions(server) == original.predictions
        assert [d["name"] for d in server.client.get("/datasets").json()["data"]] == ["pairs"]


def back_up_and_restore(data: Path, folder: Path) -> Path:
    """Back up a running service, verify and restore the backup, and return the restored data."""
    done = epochd("backup", str(folder / "backup"), EPOCHD_DATA_DIR=str(data))
    assert done.returncode == 0, done.stderr
    assert [*verify_backup(folder / "backup")] == []
    settings = Settings(data_dir=folder / "restored")
    settings.data_dir.mkdir()
    restore(settings, folder / "backup")
    assert [*verify(settings)] == []
    return settings.data_dir


def back_up_under_load(tmp_path: Path, number: int) -> Load:
    """Make backups of a service at work, and serve the last one."""
    data = tmp_path / "data"
    restored = []
    with serving(data, trainers=2, keep_checkpoints=1) as server:
        server.run(LINE)
        expected = predictions(server)
        endless = server.submit(ENDLESS)
        server.until(endless, lambda event: event["kind"] == "epoch")
        load = Load(str(server.client.base_url), "line")
        with load.running():
            for one in range(number):
                load.wait_for(uploads=4 * one + 1, jobs=2 * one + 1)
                folder = tmp_path / str(one)
                folder.mkdir()
                restored.append(back_up_and_restore(data, folder))
        assert load.errors == []
        assert [*verify(Settings(data_dir=data))] == []
        server.cancel_all()
    with serving(restored[-1], trainers=1) as server:
        assert server.client.get("/health/ready").json() == {"status": "ok", "warnings": []}
        assert predictions(server) == expected
        for model in server.client.get("/models").json()["data"]:
            for version in model["versions"]:
                body = INPUTS | {"model": f"{model['name']}@{version}"}
                assert server.client.post("/predict", json=body).status_code == 200
        # The job goes on from its checkpoint, not from its beginning.
        server.log.wait_for(r"trains on cpu.*from step [1-9]\d* of")
        server.cancel_all()
    return load


def test_backups_under_load_are_complete(tmp_path: Path) -> None:
    load = back_up_under_load(tmp_path, BACKUPS)
    assert load.done["uploads"] > 0
    assert load.done["jobs"] > 0


def test_commands_report_faults_in_one_line(original: Original, tmp_path: Path) -> None:
    data = {"EPOCHD_DATA_DIR": str(original.folder / "data")}
    assert epochd("verify", **data).returncode == 0
    assert epochd("verify", "--data-dir", str(tmp_path)).stderr.startswith("there is no database")
    backup = tmp_path / "backup"
    assert epochd("backup", str(backup), **data).returncode == 0
    assert "is not empty" in epochd("restore", str(backup), **data).stderr
    os.truncate(backup / "epochd.db", 100)
    found = epochd("verify", str(backup))
    assert found.returncode == 1
    assert "epochd.db has bytes 100 instead of" in found.stdout
    assert "faults" in found.stderr
    restored = epochd("restore", str(backup), EPOCHD_DATA_DIR=str(tmp_path / "new"))
    assert restored.returncode == 1
    assert restored.stderr.startswith("the backup is damaged: ")
    for output in (found.stderr, restored.stderr):
        assert "Traceback" not in output
