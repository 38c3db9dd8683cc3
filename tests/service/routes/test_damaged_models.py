"""A model version whose files are damaged is refused by name, and served again once repaired."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from httpx import Response
from safetensors.torch import save

from ml.artifacts import MANIFEST, WEIGHTS
from ml.evaluation.baseline import BASELINE
from ml.integrity import CHECKSUMS, seal
from ml.training.summary import EVALUATION, SAMPLE
from service.app import create_app
from service.jobs.attempts import AttemptStore
from service.settings import Settings
from service.storage.database import Database
from tests.conftest import LINE
from tests.damages import DAMAGES, USUAL, flip, unseal
from tests.service.routes.test_charts import run

ROW = {"inputs": [[1.5]]}
TENSOR = {"inputs": [{"name": "inputs", "shape": [1, 1], "datatype": "FP32", "data": [1.5]}]}
NAME = "version 1 of model 'line' is damaged: "


@pytest.fixture
def line(client: TestClient, settings: Settings) -> Iterator[Path]:
    """Directory of version 1 of `line`, not yet in memory; there is a version 2."""
    database = Database(settings.sqlalchemy_url)
    attempts = AttemptStore(database, settings)
    before = set(settings.models_dir.iterdir())
    run(client, attempts, settings, LINE | {"epochs": 2})
    [directory] = set(settings.models_dir.iterdir()) - before
    run(client, attempts, settings, LINE | {"epochs": 3})
    yield directory
    database.close()


def predict(client: TestClient, reference: str = "line@1") -> Response:
    response: Response = client.post("/predict", json={"model": reference} | ROW)
    return response


def uses(client: TestClient) -> dict[str, Response]:
    """Use version 1 of `line` in every way."""
    job = client.get("/models/line/versions/1").json()["lineage"]["job_id"]
    evaluation = "/models/line/versions/1/evaluat"
    return {
        "predict": predict(client),
        "predict lines": client.post(
            "/predict?model=line@1",
            content=b"[1.5]\n",
            headers={"content-type": "application/x-ndjson"},
        ),
        "infer": client.post("/v2/models/line/versions/1/infer", json=TENSOR),
        "metadata": client.get("/v2/models/line@1"),
        "config": client.get("/v2/models/line@1/config"),
        "ready": client.get("/v2/models/line/versions/1/ready"),
        "load": client.post("/v2/repository/models/line@1/load"),
        "evaluate": client.post(f"{evaluation}e", json={}),
        "evaluation": client.get(f"{evaluation}ion"),
        "charts": client.get(f"/jobs/{job}/charts"),
        "chart": client.get(f"/jobs/{job}/charts/predictions.svg"),
    }


def damage_of(client: TestClient, version: int = 1) -> str | None:
    damage: str | None = client.get(f"/models/line/versions/{version}").json()["damage"]
    return damage


def warnings(client: TestClient) -> list[str]:
    found: list[str] = client.get("/health/ready").raise_for_status().json()["warnings"]
    return found


def states(client: TestClient) -> list[tuple[str, str]]:
    index = client.post("/v2/repository/index", json={}).json()
    return [(model["version"], model["state"]) for model in index]


def test_intact_versions_are_used(client: TestClient, line: Path) -> None:
    assert {name: r.status_code for name, r in uses(client).items() if not r.is_success} == {}
    assert damage_of(client) is None
    assert warnings(client) == []


@pytest.mark.parametrize("damage", USUAL)
@pytest.mark.parametrize("name", [MANIFEST, CHECKSUMS])
def test_damaged_version_is_refused_by_name_everywhere(
    client: TestClient, line: Path, name: str, damage: str
) -> None:
    DAMAGES[damage](line / name)
    for use, response in uses(client).items():
        assert response.status_code == 503, use
        document = response.json()
        if "error" in document:
            assert document["error"].startswith(NAME), use
        else:
            assert document["type"] == "urn:epochd:damaged", use
            assert document["detail"].startswith(NAME), use
            assert document["detail"].endswith("; restore its files from a backup"), use
            assert str(line) not in document["detail"]


@pytest.mark.parametrize("is_sealed", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_are_not_served(
    client: TestClient, line: Path, damage: str, is_sealed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if not is_sealed:
        unseal(line)
    DAMAGES[damage](line / WEIGHTS)
    statuses = {use: response.status_code for use, response in uses(client).items()}
    usable = {"evaluation", "charts", "chart"}
    assert statuses == {use: 200 if use in usable else 503 for use in statuses}
    told = predict(client).json()["detail"]
    assert told.startswith(f"{NAME}{WEIGHTS} ")
    assert damage_of(client) == told
    # The others are served, and so is the service.
    assert predict(client, "line@2").status_code == 200
    assert damage_of(client, 2) is None
    assert client.get("/v2/models/line/versions/2/ready").status_code == 200
    assert warnings(client) == [told]
    assert states(client) == [("1", "UNAVAILABLE"), ("2", "READY")]
    # The log says it once.
    lines = [r for r in caplog.records if r.levelno >= logging.WARNING and "damaged" in r.message]
    assert [str(line / WEIGHTS) in record.message for record in lines] == [True]


@pytest.mark.parametrize("damage", USUAL)
@pytest.mark.parametrize("name", [EVALUATION, SAMPLE])
def test_damaged_summary_is_not_shown_but_the_version_is_served(
    client: TestClient, line: Path, name: str, damage: str
) -> None:
    DAMAGES[damage](line / name)
    assert client.get("/v2/models/line/versions/1/ready").status_code == 200
    found = uses(client)
    refused = {use for use, response in found.items() if response.status_code == 503}
    assert refused == {"evaluation", "charts", "chart"}
    assert found["chart"].json()["detail"].startswith(f"{NAME}{name} ")
    assert (damage_of(client) or "").startswith(f"{NAME}{name} ")
    assert [warning.startswith(f"{NAME}{name} ") for warning in warnings(client)] == [True]
    assert states(client) == [("1", "READY"), ("2", "READY")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_baselines_are_not_compared_with_but_the_version_is_served(
    client: TestClient, line: Path, damage: str
) -> None:
    DAMAGES[damage](line / BASELINE)
    found = uses(client)
    assert {use for use, response in found.items() if not response.is_success} == {"evaluate"}
    assert found["evaluate"].status_code == 503
    told = found["evaluate"].json()["detail"]
    assert told.startswith(f"{NAME}{BASELINE} ")
    assert damage_of(client) == told
    assert warnings(client) == [told]
    assert states(client) == [("1", "READY"), ("2", "READY")]
    # The figures of the training are those of its own summary.
    assert found["evaluation"].json()["baseline"]["mean"]["mse"] > 0


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"constant": torch.zeros(1, dtype=torch.float64)},
        {"constant": torch.zeros(1), "linear_rows": torch.zeros(2)},
        {"constant": torch.zeros(1), "linear_rows": torch.tensor(1), "weights": torch.zeros(1)},
        {"constant": torch.zeros(9), "linear_rows": torch.tensor(0)},
        {
            "constant": torch.zeros(1),
            "linear_rows": torch.tensor(1),
            "weights": torch.zeros(9, 9),
            "bias": torch.zeros(1),
        },
    ],
)
def test_baselines_of_another_form_are_damaged(
    client: TestClient, line: Path, tensors: dict[str, torch.Tensor]
) -> None:
    (line / CHECKSUMS).unlink()
    (line / BASELINE).write_bytes(save(tensors))
    seal(line)
    response = uses(client)["evaluate"]
    assert response.status_code == 503, response.text
    assert response.json()["detail"].startswith(f"{NAME}{BASELINE} cannot be read: ")
    assert predict(client).status_code == 200


def test_version_is_served_again_once_its_file_is_repaired(client: TestClient, line: Path) -> None:
    answer = predict(client).json()
    client.post("/v2/repository/models/line/unload")
    client.post("/v2/repository/models/line/load")
    flip(line / WEIGHTS)
    for _ in range(2):
        assert predict(client).status_code == 503
    assert len(warnings(client)) == 1
    flip(line / WEIGHTS)
    assert warnings(client) == []
    assert states(client) == [("1", "READY"), ("2", "READY")]
    assert predict(client).json() == answer
    assert damage_of(client) is None


def test_directory_that_was_moved_away_is_served_again_once_it_is_back(
    client: TestClient, line: Path
) -> None:
    line.rename(line.with_name("elsewhere"))
    detail = predict(client).json()["detail"]
    assert detail == f"{NAME}{MANIFEST} is missing; restore its files from a backup"
    assert warnings(client) == [detail]
    line.with_name("elsewhere").rename(line)
    assert warnings(client) == []
    line.rename(line.with_name("elsewhere"))
    assert predict(client).json()["detail"] == detail
    assert warnings(client) == [detail]
    line.with_name("elsewhere").rename(line)
    assert predict(client).status_code == 200
    assert warnings(client) == []


def test_version_whose_list_was_wrong_is_served_again_once_it_is_right(
    client: TestClient, line: Path
) -> None:
    checksums = (line / CHECKSUMS).read_text()
    wrong = json.loads(checksums)
    wrong["files"][WEIGHTS]["size"] += 1
    (line / CHECKSUMS).write_text(json.dumps(wrong))
    assert f"{NAME}{WEIGHTS} has bytes" in predict(client).json()["detail"]
    (line / CHECKSUMS).write_text(checksums)
    assert predict(client).status_code == 200
    assert warnings(client) == []


def test_directory_of_another_version_is_not_served(client: TestClient, line: Path) -> None:
    [other] = {*line.parent.iterdir()} - {line}
    shutil.rmtree(line)
    shutil.copytree(other, line)
    for use, response in uses(client).items():
        assert response.status_code == 503, use
    assert f"{NAME}{MANIFEST} belongs to another model" in predict(client).json()["detail"]


def test_version_in_memory_is_still_served(client: TestClient, line: Path) -> None:
    answer = predict(client).json()
    flip(line / WEIGHTS)
    assert predict(client).json() == answer
    assert client.get("/v2/models/line/versions/1/ready").status_code == 200
    assert (damage_of(client) or "").startswith(NAME)


def test_deleted_version_is_no_longer_reported(client: TestClient, line: Path) -> None:
    flip(line / WEIGHTS)
    predict(client)
    assert len(warnings(client)) == 1
    client.delete("/models/line/versions/1").raise_for_status()
    assert warnings(client) == []
    assert predict(client).status_code == 404


def test_damage_is_known_to_all_processes_and_after_a_restart(
    client: TestClient, line: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    flip(line / WEIGHTS)
    predict(client)
    found = warnings(client)
    assert len(found) == 1
    caplog.clear()
    other: Any = create_app(settings)
    components = other.components
    assert [damage.message for damage in components.model_files.known_damage()] == found
    assert components.model_files.damage("line", 1) == found[0]
    assert "damaged" not in caplog.text, "it was logged already"


def test_damage_is_logged_once_even_if_it_cannot_be_noted(
    client: TestClient, line: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.damage_dir.write_text("in the way")
    flip(line / WEIGHTS)
    for _ in range(3):
        assert predict(client).status_code == 503
    assert [str(line) in r.message for r in caplog.records if r.levelname == "ERROR"] == [True]
    assert warnings(client) == []
    flip(line / WEIGHTS)
    assert predict(client).status_code == 200
