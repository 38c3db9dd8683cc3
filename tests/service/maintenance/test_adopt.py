"""Models and data sets that a lost database knew."""

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.maintenance.adopt import adopt
from service.maintenance.backup import back_up
from service.maintenance.snapshot import Refused
from service.maintenance.verify import verify
from service.settings import Settings
from service.storage.database import Database
from service.storage.instance import Instance
from tests.service.maintenance.conftest import CSV, Installation, add_model, predict
from tests.service.maintenance.test_backup import flip


def lose_database(installed: Installation) -> None:
    for path in installed.settings.data_dir.glob("epochd.db*"):
        path.unlink()


def ready(settings: Settings) -> dict[str, object]:
    with TestClient(create_app(settings)) as client:
        answer: dict[str, object] = client.get("/health/ready").json()
        assert client.get("/v2/health/ready").json() == {"ready": True}
    return answer


def test_lost_database_deletes_nothing_and_adopt_restores_all(
    installed: Installation,
) -> None:
    settings, expected = installed.settings, installed.predict()
    before = {path for path in settings.data_dir.rglob("*") if "epochd.db" not in path.name}
    lose_database(installed)
    for _ in range(2):
        answer = ready(settings)
        assert answer["status"] == "degraded"
        assert "1 model, 1 data set and 1 job with checkpoints, of which it knows none" in str(
            answer["warnings"]
        )
    assert before <= {*settings.data_dir.rglob("*")}
    lines = [*adopt(settings, None, dry_run=False)]
    assert lines[:2] == [
        f"adopted the model line@1 from {installed.model}",
        f"adopted the data set pairs ({installed.dataset}) from {installed.rows}",
    ]
    assert lines[2].startswith(f"did not adopt {settings.checkpoints_dir / installed.paused}: ")
    assert len(lines) == 3
    assert ready(settings) == {"status": "ok", "warnings": []}
    assert predict(settings) == expected
    assert [*verify(settings)] == []
    with TestClient(create_app(settings)) as client:
        dataset = client.get(f"/datasets/{installed.dataset}").json()
        assert (dataset["name"], dataset["target"]) == ("pairs", "y")
        assert client.get("/models/line").json()["lineage"]["job_id"] == installed.job_id
        assert client.get(f"/jobs/{installed.job_id}").status_code == 404
    assert [*adopt(settings, None, dry_run=False)] == []


def test_several_default_targets_are_adopted(settings: Settings) -> None:
    table = b"x,y,z\n" + b"\n".join(b"%d,%d,%d" % (n, 2 * n, 3 * n) for n in range(9))
    url = "/datasets?name=triples&target=z&target=y"
    with TestClient(create_app(settings)) as client:
        stored = client.post(url, content=table).json()
    for path in settings.data_dir.glob("epochd.db*"):
        path.unlink()
    ready(settings)
    for expected in (1, 0):
        assert len([*adopt(settings, None, dry_run=False)]) == expected
    with TestClient(create_app(settings)) as client:
        assert client.get(f"/datasets/{stored['id']}").json() == stored
        assert client.post(url, content=table).status_code == 200, "it is found again"
    assert stored["target"] == ["z", "y"]


def test_dry_run_changes_nothing(installed: Installation) -> None:
    lose_database(installed)
    before = {*installed.settings.data_dir.rglob("*")}
    lines = [*adopt(installed.settings, None, dry_run=True)]
    assert [line.split(" the ")[0] for line in lines[:2]] == ["would adopt"] * 2
    assert lines[2].endswith("would move it to the trash")
    assert {*installed.settings.data_dir.rglob("*")} == before


def test_older_database_adopts_newer_artifacts(installed: Installation, tmp_path: Path) -> None:
    settings = installed.settings
    ready(settings)
    shutil.copytree(settings.data_dir, tmp_path / "older")
    second, _ = add_model(settings)
    lose_database(installed)
    shutil.copy2(tmp_path / "older" / "epochd.db", installed.database)
    third, _ = add_model(settings)  # this one takes version 2
    [line] = [line for line in adopt(settings, None, dry_run=False) if second in line]
    assert line.startswith("adopted the model line@3 ")
    assert line.endswith(", as version 2 is taken")
    with TestClient(create_app(settings)) as client:
        for version, job_id in enumerate((installed.job_id, third, second), 1):
            model = client.get(f"/models/line/versions/{version}").json()
            assert model["lineage"]["job_id"] == job_id
    # The version is kept if the database is lost again.
    lose_database(installed)
    assert any("line@3" in line for line in adopt(settings, None, dry_run=False))


def test_damaged_artifacts_go_to_the_trash(installed: Installation) -> None:
    lose_database(installed)
    model, rows = installed.model, installed.rows
    flip(model / "model.safetensors")
    flip(next(rows.glob("*.row.json")))
    lines = [*adopt(installed.settings, None, dry_run=False)]
    assert [line.split(":")[0] for line in lines[:2]] == [
        f"did not adopt {model}",
        f"did not adopt {rows}",
    ]
    trash = installed.settings.trash_dir
    assert len([*trash.glob(f"*/models/{model.name}"), *trash.glob("*/datasets/*")]) == 2
    assert ready(installed.settings)["status"] == "ok"


def test_model_without_a_record_is_adopted_by_its_manifest(installed: Installation) -> None:
    lose_database(installed)
    next(installed.model.glob("*.row.json")).unlink()
    assert f"adopted the model line@1 from {installed.model}" in [
        *adopt(installed.settings, None, dry_run=False)
    ]
    assert ready(installed.settings)["status"] == "ok"
    assert len(list(installed.model.glob("*.row.json"))) == 1


def test_deleted_version_is_not_adopted(installed: Installation, tmp_path: Path) -> None:
    shutil.copytree(installed.model, tmp_path / "model")
    with TestClient(create_app(installed.settings)) as client:
        assert client.delete("/models/line/versions/1").status_code == 204
    shutil.copytree(tmp_path / "model", installed.model)
    [line] = adopt(installed.settings, None, dry_run=False)
    assert "this version was deleted" in line


def test_artifacts_of_a_backup_and_the_trash_are_adopted(
    installed: Installation, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    back_up(installed.settings, backup)
    other = Settings(data_dir=tmp_path / "other", trainers=0)
    assert ready(other)["status"] == "ok"
    with pytest.raises(Refused, match="is not a directory"):
        [*adopt(other, tmp_path / "missing", dry_run=False)]
    assert len([*adopt(other, backup, dry_run=False)]) == 2
    assert predict(other) == installed.predict()
    assert [*adopt(other, backup, dry_run=False)] == []
    # The trash has the same kinds, one folder for each.
    with TestClient(create_app(other)) as client:
        assert client.delete(f"/datasets/{installed.dataset}").status_code == 204
    day = other.trash_dir / "2026-11-26" / "datasets"
    day.mkdir(parents=True)
    shutil.copytree(installed.rows, day / installed.rows.name)
    [line] = adopt(other, day.parent, dry_run=False)
    assert installed.dataset in line
    assert [*verify(other)] == []


def test_description_of_other_rows_is_not_adopted(installed: Installation) -> None:
    lose_database(installed)
    installed.rows.rename(installed.rows.with_name("0" * 64))
    [line] = [x for x in adopt(installed.settings, None, dry_run=False) if "0000" in x]
    assert "its description is that of other rows" in line


def test_older_database_stays_doubtful_when_it_comes_to_know_a_model(
    installed: Installation,
) -> None:
    settings = installed.settings
    lose_database(installed)
    database = Database(settings.sqlalchemy_url)
    database.migrate()
    Instance(database, settings).join(settings.instance_file.read_text().strip())
    database.close()
    assert "for 1 of 1 model and" in str(ready(settings)["warnings"])
    add_model(settings)
    for _ in range(2):
        answer = ready(settings)
        assert answer["status"] == "degraded"
        assert "for 1 of 2 models and" in str(answer["warnings"])
    assert installed.model.exists()
    assert not settings.trash_dir.exists()
    assert "line@2" in str([*adopt(settings, None, dry_run=False)])
    assert ready(settings) == {"status": "ok", "warnings": []}


def test_right_database_ends_the_doubt(installed: Installation, tmp_path: Path) -> None:
    settings = installed.settings
    shutil.copy2(installed.database, tmp_path / "right.db")
    lose_database(installed)
    assert ready(settings)["status"] == "degraded"
    lose_database(installed)
    shutil.copy2(tmp_path / "right.db", installed.database)
    assert ready(settings) == {"status": "ok", "warnings": []}


@pytest.fixture
def backup(installed: Installation, tmp_path: Path) -> Path:
    """A backup whose files are not those of the data directory."""
    back_up(installed.settings, tmp_path / "backup", link=False)
    return tmp_path / "backup"


def test_own_artifacts_are_adopted_before_those_of_a_backup(
    installed: Installation, backup: Path
) -> None:
    second, _ = add_model(installed.settings)
    lose_database(installed)
    assert ready(installed.settings)["status"] == "degraded"
    lines = str([*adopt(installed.settings, backup, dry_run=False)])
    for path in (installed.settings.models_dir / f"{second}-1", installed.model, installed.rows):
        assert f" from {path}'" in lines
        assert path.exists()
    assert f"did not adopt {installed.settings.checkpoints_dir / installed.paused}: " in lines
    assert ready(installed.settings) == {"status": "ok", "warnings": []}
    assert [*verify(installed.settings)] == []


@pytest.mark.parametrize("made", [".", "models", "datasets/uploads", "epochd/models/job_a-1"])
def test_source_without_artifacts_is_refused(
    made: str, installed: Installation, tmp_path: Path
) -> None:
    lose_database(installed)
    before = {*installed.settings.data_dir.rglob("*")}
    source = tmp_path / "source"
    (source / made).mkdir(parents=True)
    if made == "datasets/uploads":
        (source / made / ".incomplete").mkdir()
    with pytest.raises(Refused, match="holds no models and no data sets; --from must be a backup"):
        [*adopt(installed.settings, source, dry_run=False)]
    assert {*installed.settings.data_dir.rglob("*")} == before


def test_intact_copies_replace_damaged_ones(installed: Installation, backup: Path) -> None:
    expected = installed.predict()
    lose_database(installed)
    flip(installed.model / "model.safetensors")
    flip(installed.rows / "table.parquet")
    lines = [*adopt(installed.settings, backup, dry_run=False)]
    adopted = [line for line in lines if line.startswith("adopted ")]
    assert [str(backup) in line for line in adopted] == [True, True]
    assert predict(installed.settings) == expected
    assert [*verify(installed.settings)] == []
    trash = installed.settings.trash_dir
    assert len([*trash.glob(f"*/models/{installed.model.name}"), *trash.glob("*/datasets/*")]) == 2


def test_damaged_rows_of_a_known_data_set_are_replaced_with_a_new_one(
    installed: Installation, backup: Path, tmp_path: Path
) -> None:
    shutil.copy2(installed.database, tmp_path / "older.db")
    with TestClient(create_app(installed.settings)) as client:
        added = client.post("/datasets?name=others&target=x", content=CSV)
        assert added.status_code == 201, added.text
    shutil.rmtree(backup)
    back_up(installed.settings, backup, link=False)
    lose_database(installed)
    shutil.copy2(tmp_path / "older.db", installed.database)
    flip(installed.rows / "table.parquet")
    [line] = adopt(installed.settings, backup, dry_run=False)
    assert line.startswith("adopted the data set others ")
    assert [*verify(installed.settings)] == []
    assert len([*installed.settings.trash_dir.glob(f"*/datasets/{installed.rows.name}")]) == 1
