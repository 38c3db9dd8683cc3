"""Versions and aliases, as rows and over HTTP."""

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from ml.artifacts import Manifest
from service.app import create_app
from service.attempts import AttemptStore
from service.database import Database
from service.jobs import JobStore
from service.registry import ModelRegistry, Preconditions
from service.revision import Revision
from service.settings import Settings
from tests.service.conftest import claimed, submitted

ROWS = {"inputs": [[1], [2]]}


@pytest.fixture
def client(settings: Settings, manifest: Manifest, tmp_path: Path) -> object:
    """A service with three versions of the model `line`, all with the same weights."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        database = Database(settings.sqlalchemy_url)
        for number in (1, 2, 3):
            directory = f"model-{number}"
            shutil.copytree(tmp_path / "model", settings.models_dir / directory)
            submitted(JobStore(database))
            attempts = AttemptStore(database, settings)
            attempts.succeed(claimed(attempts), manifest, directory)
        yield client
        database.close()


def served(client: TestClient, reference: str) -> int:
    response = client.post("/predict", json={"model": reference} | ROWS)
    assert response.status_code == 200, response.text
    version: int = response.json()["version"]
    return version


def put(client: TestClient, alias: str, version: int, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response: Response = client.put(
        f"/models/line/aliases/{alias}", json={"version": version}, headers=named
    )
    return response


def test_a_bare_name_means_the_alias_default_or_else_the_newest(client: TestClient) -> None:
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


def test_etags_guard_against_lost_updates(client: TestClient) -> None:
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
def test_what_is_not_there(
    client: TestClient, method: str, path: str, body: object, status: int
) -> None:
    response = client.request(method, path, json=body)
    assert response.status_code == status, response.text


def test_a_version_with_an_alias_is_not_deleted(client: TestClient, settings: Settings) -> None:
    put(client, "default", 2)
    refused = client.delete("/models/line/versions/2")
    assert refused.status_code == 409
    assert "default" in refused.json()["detail"]
    assert client.delete("/models/line/versions/3").status_code == 204
    assert not (settings.models_dir / "model-3").exists()
    assert client.post("/predict", json={"model": "line@3"} | ROWS).status_code == 404
    assert served(client, "line") == 2
    assert client.get("/models/line/versions/3").status_code == 404


def test_a_number_is_never_given_again(
    client: TestClient, settings: Settings, manifest: Manifest
) -> None:
    client.delete("/models/line/versions/3")
    database = Database(settings.sqlalchemy_url)
    submitted(JobStore(database))
    attempts = AttemptStore(database, settings)
    assert attempts.succeed(claimed(attempts), manifest, "model-4").version == 4
    database.close()


def test_what_another_process_changes_is_seen_at_once(
    client: TestClient, settings: Settings
) -> None:
    assert served(client, "line") == 3
    database = Database(settings.sqlalchemy_url)
    other = ModelRegistry(database, settings.models_dir, Revision(settings.revision_file))
    for version in (1, 2, 1, 2):
        other.set_alias("line", "default", version, Preconditions())
        assert served(client, "line") == version
    database.close()


def test_files_of_a_deletion_that_was_cut_short_are_removed_at_the_next_start(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    client.delete("/models/line/versions/3")
    monkeypatch.undo()
    assert (settings.models_dir / "model-3").exists()
    with TestClient(create_app(settings)):
        assert not (settings.models_dir / "model-3").exists()
        assert (settings.models_dir / "model-2").exists()
