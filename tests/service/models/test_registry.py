"""Versions and aliases, in the database and over HTTP."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import update

from ml.artifacts import Manifest
from service.app import create_app
from service.jobs.attempts import AttemptStore
from service.jobs.store import JobStore
from service.models.preconditions import Preconditions
from service.models.registry import ModelRegistry
from service.predictions import model_cache
from service.settings import Settings
from service.storage.database import Database
from service.storage.shared_version import SharedVersion
from service.storage.tables import ModelVersionRow
from tests.damages import unseal
from tests.service.conftest import claimed, outdated, submitted

ROWS = {"inputs": [[1], [2]]}


@pytest.fixture
def client(settings: Settings, manifest: Manifest, tmp_path: Path) -> object:
    """A service with three versions of the model `line`, all with the same weights."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        for number in (1, 2, 3):
            add(settings, manifest, tmp_path, number)
        yield client


def add(settings: Settings, manifest: Manifest, tmp_path: Path, number: int) -> None:
    """Add the next version, as a job would."""
    directory = f"model-{number}"
    shutil.copytree(tmp_path / "model", settings.models_dir / directory)
    database = Database(settings.sqlalchemy_url)
    submitted(JobStore(database))
    attempts = AttemptStore(database, settings)
    assert attempts.succeed(claimed(attempts), manifest, directory).version == number
    database.close()


def served(client: TestClient, reference: str) -> int:
    response = client.post("/predict", json={"model": reference} | ROWS)
    assert response.status_code == 200, response.text
    version: int = response.json()["version"]
    return version


def refused(client: TestClient, reference: str) -> str:
    """Return the error message of an unloaded model."""
    response = client.post("/predict", json={"model": reference} | ROWS)
    assert response.status_code == 409, response.text
    detail: str = response.json()["detail"]
    return detail


def loaded(client: TestClient) -> float:
    """Return the number of models in memory."""
    [line] = re.findall("^epochd_models_loaded (.*)$", client.get("/metrics").text, re.M)
    return float(line)


def put(client: TestClient, alias: str, version: int, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response: Response = client.put(
        f"/models/line/aliases/{alias}", json={"version": version}, headers=named
    )
    return response


def test_bare_name_resolves_to_the_default_alias_or_newest_version(client: TestClient) -> None:
    assert served(client, "line") == 3
    assert put(client, "default", 1).status_code == 200
    assert served(client, "line") == 1
    assert client.get("/models/line").json()["version"] == 1
    assert client.delete("/models/line/aliases/default").status_code == 204
    assert served(client, "line") == 3


def test_promote_and_roll_back(client: TestClient) -> None:
    for version in (2, 3, 2):
        assert put(client, "champion", version).json()["version"] == version
        assert served(client, "line@champion") == version
    assert client.get("/models/line/versions/2").json()["aliases"] == ["champion"]
    [summary] = client.get("/models").json()["data"]
    assert summary["aliases"] == {"champion": 2}
    assert [a["alias"] for a in client.get("/models/line/aliases").json()["data"]] == ["champion"]


def test_etags_prevent_lost_updates(client: TestClient) -> None:
    first = put(client, "a", 1, If_None_Match="*").headers["etag"]
    assert put(client, "a", 2, If_None_Match="*").status_code == 412
    assert client.get("/models/line/aliases/a").headers["etag"] == first
    second = put(client, "a", 2, If_Match=first).headers["etag"]
    assert second != first
    lost = put(client, "a", 3, If_Match=first)
    assert lost.status_code == 412
    assert second in lost.json()["detail"]
    assert put(client, "a", 3, If_Match=f'"x", {second}').status_code == 200
    stale = client.delete("/models/line/aliases/a", headers={"If-Match": second})
    assert stale.status_code == 412
    assert served(client, "line@a") == 3
    assert put(client, "b", 1, If_Match="*").status_code == 412


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/models/line/aliases/a", {"version": 9}, 404),
        ("PUT", "/models/nothing/aliases/a", {"version": 1}, 404),
        ("PUT", "/models/line/aliases/7", {"version": 1}, 422),
        ("PUT", "/models/line/aliases/a", {"version": "1"}, 422),
        ("PUT", "/models/line/aliases/a", {"version": 0}, 422),
        ("GET", "/models/line/aliases/a", None, 404),
        ("DELETE", "/models/line/aliases/a", None, 404),
        ("GET", "/models/nothing/aliases", None, 404),
        ("DELETE", "/models/line/versions/9", None, 404),
    ],
)
def test_unknown_models_and_aliases_are_not_found(
    client: TestClient, method: str, path: str, body: object, status: int
) -> None:
    response = client.request(method, path, json=body)
    assert response.status_code == status, response.text


def test_version_with_an_alias_cannot_be_deleted(client: TestClient, settings: Settings) -> None:
    put(client, "default", 2)
    refused = client.delete("/models/line/versions/2")
    assert refused.status_code == 409
    assert "default" in refused.json()["detail"]
    assert client.delete("/models/line/versions/3").status_code == 204
    assert not (settings.models_dir / "model-3").exists()
    assert client.post("/predict", json={"model": "line@3"} | ROWS).status_code == 404
    assert served(client, "line") == 2
    assert client.get("/models/line/versions/3").status_code == 404


def test_version_numbers_are_not_reused(
    client: TestClient, settings: Settings, manifest: Manifest, tmp_path: Path
) -> None:
    client.delete("/models/line/versions/3")
    add(settings, manifest, tmp_path, 4)


def test_changes_by_other_processes_are_visible_immediately(
    client: TestClient, settings: Settings
) -> None:
    assert served(client, "line") == 3
    database = Database(settings.sqlalchemy_url)
    other = ModelRegistry(
        database, settings.models_dir, SharedVersion(settings.registry_version_file)
    )
    for version in (1, 2, 1, 2):
        other.set_alias("line", "default", version, Preconditions())
        assert served(client, "line") == version
    database.close()


def test_files_of_an_interrupted_deletion_are_removed_at_startup(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    client.delete("/models/line/versions/3")
    monkeypatch.undo()
    assert (settings.models_dir / "model-3").exists()
    with TestClient(create_app(settings)):
        assert not (settings.models_dir / "model-3").exists()
        assert (settings.models_dir / "model-2").exists()


REPOSITORY = "/v2/repository/models/line"
TENSOR = {"name": "inputs", "shape": [1, 1], "datatype": "FP32", "data": [1]}


def index(client: TestClient, **options: bool) -> list[tuple[str, str, str]]:
    answer = client.post("/v2/repository/index", json=options).raise_for_status().json()
    return [(version["version"], version["state"], version["reason"]) for version in answer]


def test_unloaded_model_is_unavailable_until_loaded(client: TestClient) -> None:
    put(client, "live", 1)
    assert [served(client, name) for name in ("line", "line@2", "line@live")] == [3, 2, 1]
    assert loaded(client) == 3
    for _ in range(2):
        assert client.post(f"{REPOSITORY}/unload").status_code == 200
        assert loaded(client) == 0
        for name in ("line", "line@2", "line@live"):
            assert f"POST {REPOSITORY}/load" in refused(client, name)
        for of_version in ("", "/versions/2"):
            model = f"/v2/models/line{of_version}"
            answers = [client.get(model + what) for what in ("", "/ready", "/config", "/stats")]
            answers.append(client.post(f"{model}/infer", json={"inputs": [TENSOR]}))
            for answer in answers:
                assert answer.status_code == 409
                assert set(answer.json()) == {"error"}
                assert "'line' is unloaded" in answer.json()["error"]
        assert index(client) == [(str(n), "UNAVAILABLE", "unloaded") for n in (1, 2, 3)]
        assert index(client, ready=True) == []
        assert client.get("/v2/models/stats").json() == {"model_stats": []}
        assert client.get("/models").json()["data"][0]["unloaded"] is True
    assert client.get("/v2/models/line/versions/4/ready").status_code == 404
    assert client.post(f"{REPOSITORY}@4/load").status_code == 404
    refused(client, "line")
    # Unloading evicted all versions, so only the model loaded now is in memory.
    assert client.post(f"{REPOSITORY}/load").status_code == 200
    assert loaded(client) == 1
    assert [served(client, name) for name in ("line", "line@2", "line@live")] == [3, 2, 1]
    assert client.get("/v2/models/line/ready").status_code == 200
    assert index(client, ready=True) == [(str(n), "READY", "") for n in (1, 2, 3)]
    assert client.get("/models").json()["data"][0]["unloaded"] is False


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("models/nothing/unload", {"parameters": {}}, 404, "no model 'nothing'"),
        ("models/line@1/unload", {}, 404, "no model 'line@1'"),
        ("models/nothing/load", {}, 404, "no model 'nothing'"),
        ("models/nothing@1/load", {}, 404, "no model 'nothing'"),
        ("models/line@9/load", {}, 404, "no version 9"),
        ("models/@/load", {}, 422, "not a model reference"),
        ("index", {"ready": "perhaps"}, 400, "ready: "),
        ("index", [], 400, "dictionary"),
    ],
)
def test_invalid_repository_requests_are_refused(
    client: TestClient, path: str, body: object, status: int, says: str
) -> None:
    response = client.post(f"/v2/repository/{path}", json=body)
    assert response.status_code == status
    assert set(response.json()) == {"error"}
    assert says in response.json()["error"]
    assert served(client, "line") == 3


def test_unload_survives_restarts_and_applies_to_new_versions(
    client: TestClient, settings: Settings, manifest: Manifest, tmp_path: Path
) -> None:
    client.post(f"{REPOSITORY}/unload").raise_for_status()
    with TestClient(create_app(settings)) as again:
        refused(again, "line")
        add(settings, manifest, tmp_path, 4)
        for name in ("line", "line@4"):
            refused(again, name)
        again.post("/v2/repository/models/line@2/load").raise_for_status()
        assert served(again, "line") == 4
    assert served(client, "line") == 4


def test_reused_name_is_not_unloaded(
    client: TestClient, settings: Settings, manifest: Manifest, tmp_path: Path
) -> None:
    client.post(f"{REPOSITORY}/unload").raise_for_status()
    for version in (1, 2):
        client.delete(f"/models/line/versions/{version}").raise_for_status()
    refused(client, "line@3")
    client.delete("/models/line/versions/3").raise_for_status()
    add(settings, manifest, tmp_path, 4)
    assert served(client, "line") == 4


def test_other_processes_respect_an_unload_and_free_memory(
    client: TestClient, settings: Settings
) -> None:
    served(client, "line")
    database = Database(settings.sqlalchemy_url)
    other = ModelRegistry(
        database, settings.models_dir, SharedVersion(settings.registry_version_file)
    )
    for _ in range(2):
        other.unload("line")
        refused(client, "line")
        assert loaded(client) == 0
        other.load("line")
        assert served(client, "line") == 3
        assert loaded(client) == 1
    database.close()


def test_model_unloaded_while_loading_responds_and_is_evicted(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = model_cache._load_and_warm

    def unloaded_meanwhile(*arguments: Any) -> object:
        # Sent from the loading thread, while the event loop is free to respond.
        client.post(f"{REPOSITORY}/unload").raise_for_status()
        return load(*arguments)

    monkeypatch.setattr(model_cache, "_load_and_warm", unloaded_meanwhile)
    assert served(client, "line") == 3
    assert loaded(client) == 0
    refused(client, "line")


def test_model_with_an_outdated_spec_is_served(client: TestClient, settings: Settings) -> None:
    before = client.post("/predict", json={"model": "line@2"} | ROWS).json()
    spec = outdated(client.get("/models/line/versions/1").json()["lineage"]["spec"])
    file = settings.models_dir / "model-1" / "model.json"
    unseal(file.parent)
    manifest = json.loads(file.read_text()) | {"spec": spec}
    file.write_text(json.dumps(manifest))
    database = Database(settings.sqlalchemy_url)
    with database.write() as session:
        session.execute(
            update(ModelVersionRow).where(ModelVersionRow.version == 1).values(manifest=manifest)
        )
    database.close()
    assert client.get("/models").json()["data"][0]["versions"] == [1, 2, 3]
    assert client.get("/models/line/versions/1").json()["lineage"]["spec"] == spec
    answer = client.post("/predict", json={"model": "line@1"} | ROWS)
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == before["predictions"]
    # An evaluation uses the data set, the split and the loss of the spec.
    assert client.post("/models/line/versions/1/evaluate", json={}).status_code == 200
    file.write_text(json.dumps(manifest | {"spec": spec | {"loss": "of an earlier version"}}))
    refused = client.post("/models/line/versions/1/evaluate", json={})
    assert (refused.status_code, "loss: " in refused.json()["detail"]) == (422, True)


def test_versions_are_listed_by_pages(client: TestClient) -> None:
    client.put("/models/line/aliases/best", json={"version": 2})
    first = client.get("/models/line/versions", params={"limit": 2}).json()
    shown = [(version["version"], version["aliases"]) for version in first["data"]]
    assert (shown, first["next"]) == ([(3, []), (2, ["best"])], "2")
    whole = client.get("/models/line/versions/2").json()
    assert first["data"][1] == {name: whole[name] for name in whole if name in first["data"][1]} | {
        "job_id": whole["lineage"]["job_id"]
    }
    # A page goes on after a version that was deleted meanwhile.
    client.delete("/models/line/aliases/best")
    client.delete("/models/line/versions/2")
    rest = client.get("/models/line/versions", params={"after": first["next"]}).json()
    assert ([version["version"] for version in rest["data"]], rest["next"]) == ([1], None)
    assert client.get("/models/other/versions").status_code == 404


def test_a_model_is_deleted_with_its_versions_and_aliases(
    client: TestClient, settings: Settings, manifest: Manifest, tmp_path: Path
) -> None:
    client.put("/models/line/aliases/best", json={"version": 2})
    client.post("/v2/repository/models/line/unload")
    client.delete("/models/line/versions/3")
    assert client.delete("/models/line").status_code == 204
    for path in ("/models/line", "/models/line/versions", "/models/line/aliases/best"):
        assert client.get(path).status_code == 404
    assert client.get("/models").json()["data"] == []
    assert client.post("/predict", json={"model": "line@best"} | ROWS).status_code == 404
    assert list(settings.models_dir.glob("model-*")) == []
    assert client.delete("/models/line").status_code == 404
    # A later model of the name has the next number, is loaded, and has no alias.
    add(settings, manifest, tmp_path, 4)
    assert served(client, "line") == 4
    assert client.get("/models/line/aliases").json()["data"] == []


def test_a_model_that_a_job_will_add_to_is_deleted_by_force_only(client: TestClient) -> None:
    job = {"dataset": client.get("/jobs").json()["data"][0]["spec"]["dataset"], "name": "line"}
    job_id = client.post("/jobs", json=job).json()["id"]
    refused = client.delete("/models/line")
    assert (refused.status_code, job_id in refused.json()["detail"]) == (409, True)
    assert served(client, "line") == 3
    assert client.delete("/models/line", params={"force": True}).status_code == 204
    assert client.get("/models/line").status_code == 404
    assert client.get(f"/jobs/{job_id}").json()["status"] != "cancelled"
