"""Requests that change something, and commands, leave a line in the audit log."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from typer.testing import CliRunner

from service.access import audit_trail
from service.access.startup import prepare
from service.cli import app
from service.settings import Settings
from tests.conftest import LINE

Entry = dict[str, Any]
TABLE = b"a,b\n1,2\n2,4\n3,6\n4,8\n5,10\n6,12\n"


class Service:
    """A service whose first key is made by a request."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.keys: dict[str, str] = {}
        self.add("root", "admin", None)
        self.add("anna", "member", "root")

    def add(self, name: str, role: str, by: str | None) -> None:
        response = self.ask(by, "POST", "/keys", json={"name": name, "role": role})
        self.keys[name] = response.json()["secret"]

    def ask(self, who: str | None, method: str, path: str, **options: Any) -> Response:
        """Send a request with somebody's key, or without any."""
        headers = options.pop("headers", {})
        if who is not None:
            headers |= {"Authorization": f"Bearer {self.keys.get(who, who)}"}
        return self.client.request(method, path, headers=headers, **options)

    def entries(self, **query: Any) -> list[Entry]:
        response = self.ask("root", "GET", "/audit", params=query)
        assert response.status_code == 200, response.text
        entries: list[Entry] = response.json()["data"]
        return entries

    def last(self) -> Entry:
        return self.entries(limit=1)[0]


@pytest.fixture
def service(client: TestClient) -> Service:
    return Service(client)


def test_a_log_that_cannot_be_read_is_no_empty_one(service: Service, settings: Settings) -> None:
    settings.audit_file.unlink()
    settings.audit_file.mkdir()
    response = service.ask("root", "GET", "/audit")
    assert response.status_code == 503
    assert response.json()["detail"] == "the audit log cannot be read: Is a directory"
    assert service.ask("root", "POST", "/keys", json={"name": "ben"}).status_code == 201


def lines(settings: Settings) -> list[Entry]:
    if not settings.audit_file.exists():
        return []
    return [json.loads(line) for line in settings.audit_file.read_bytes().splitlines()]


def test_line_says_who_did_what_to_which_object(service: Service) -> None:
    job = service.ask("anna", "POST", "/jobs", json=LINE).json()["id"]
    answer = service.ask("anna", "POST", f"/jobs/{job}/cancel", headers={"X-Request-ID": "mine-7"})
    entry = service.last()
    assert entry.pop("time").endswith("Z")
    assert entry.pop("key_id").startswith("key_")
    assert entry == {
        "request_id": "mine-7",
        "key": "anna",
        "owner": "anna",
        "user": None,
        "address": "testclient",
        "method": "POST",
        "action": "POST /jobs/{job_id}/cancel",
        "kind": "job",
        "object": job,
        "status": answer.status_code,
        "omitted": None,
    }


def test_line_is_there_before_the_response(service: Service, settings: Settings) -> None:
    for number in range(5):
        answer = service.ask("anna", "POST", "/jobs", json=LINE | {"name": f"line-{number}"})
        assert lines(settings)[-1]["request_id"] == answer.headers["x-request-id"]


def test_made_objects_are_named(service: Service) -> None:
    job = service.ask("anna", "POST", "/jobs", json=LINE).json()["id"]
    made = service.last()
    assert (made["kind"], made["object"], made["status"]) == ("job", job, 202)
    dataset = service.ask("anna", "POST", "/datasets?name=t", content=TABLE).json()["id"]
    made = service.last()
    assert (made["kind"], made["object"], made["status"]) == ("dataset", dataset, 201)
    service.add("ben", "member", "root")
    made = service.last()
    assert (made["kind"], made["object"], made["status"]) == ("key", "ben", 201)


@pytest.mark.parametrize(
    ("method", "path", "kind", "name"),
    [
        ("DELETE", "/models/mnist/versions/3", "model", "mnist@3"),
        ("PUT", "/models/mnist/aliases/best", "model", "mnist@best"),
        ("POST", "/v2/repository/models/mnist/unload", "model", "mnist"),
        ("DELETE", "/datasets/ds_1", "dataset", "ds_1"),
        ("DELETE", "/sessions/session_1", "session", "session_1"),
        ("POST", "/keys/clara/rotate", "key", "clara"),
        ("POST", "/nowhere", None, None),
    ],
)
def test_objects_of_paths(
    service: Service, method: str, path: str, kind: str | None, name: str | None
) -> None:
    service.ask("root", method, path, json={})
    entry = service.last()
    assert (entry["key"], entry["kind"], entry["object"]) == ("root", kind, name)
    assert entry["status"] >= 400
    assert entry["action"].startswith(f"{method} {'-' if path == '/nowhere' else '/'}")


def test_refused_requests_are_in(service: Service) -> None:
    service.ask(None, "POST", "/jobs", json=LINE)
    service.ask("epd_wrong", "DELETE", "/jobs/job_1")
    service.ask("anna", "DELETE", "/keys/root")
    found = [(e["key"], e["action"], e["object"], e["status"]) for e in service.entries(limit=3)]
    assert found == [
        ("anna", "DELETE /keys/{key}", "root", 403),
        (None, "DELETE /jobs/{job_id}", "job_1", 401),
        (None, "POST /jobs", None, 401),
    ]


def test_requests_that_change_nothing_are_not(service: Service) -> None:
    before = service.entries()
    for method, path in [
        ("GET", "/jobs"),
        ("GET", "/audit"),
        ("OPTIONS", "/jobs"),
        ("POST", "/predict"),
        ("POST", "/v2/models/line/infer"),
        ("POST", "/v2/models/line/versions/1/infer"),
        ("POST", "/v2/repository/index"),
        ("POST", "/models/describe"),
        ("POST", "/expressions"),
    ]:
        service.ask("anna", method, path)
        service.ask(None, method, path)
    assert service.entries() == before


@pytest.mark.parametrize("path", ["/sign-in", "/session"])
def test_sign_ins_are_in_whether_they_succeed_or_not(service: Service, path: str) -> None:
    body = "data" if path == "/sign-in" else "json"
    for key in ("wrong", service.keys["anna"]):
        service.client.post(path, follow_redirects=False, **{body: {"key": key}})
    good, bad = service.entries(limit=2)
    assert (good["key"], good["owner"]) == ("anna", "anna")
    assert good["status"] in (201, 303)
    assert (bad["key"], bad["owner"], bad["status"]) == (None, None, 401)
    assert good["action"] == bad["action"] == f"POST {path}"
    assert good["object"] is None


def test_no_secret_is_ever_in_it(service: Service, settings: Settings) -> None:
    code = service.ask("root", "POST", "/classes", json={"name": "7b", "pupils": 1}).json()["data"][
        0
    ]["secret"]
    secrets = [*service.keys.values(), code]
    for secret in secrets:
        service.client.post("/session", json={"key": secret})
        service.client.post("/session", json={"key": f"{secret}x"})
        for who in ("root", "anna", None):
            service.ask(who, "DELETE", f"/keys/{secret}")
            service.ask(who, "POST", f"/jobs/{secret.upper()}/cancel")
    secrets.append(service.ask("root", "POST", "/keys/anna/rotate").json()["secret"])
    written = settings.audit_file.read_text()
    for secret in secrets:
        assert secret.lower() not in written.lower()


def test_long_paths_are_cut(service: Service) -> None:
    service.ask("root", "DELETE", f"/jobs/{'a' * 5000}")
    assert service.last()["object"] == "a" * (audit_trail.MAX_CHARACTERS - 1) + "…"


def test_strangers_cannot_fill_it(
    service: Service, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_trail, "STRANGERS_PER_HOUR", 3)
    for _ in range(10):
        service.ask(None, "POST", "/jobs")
    assert len([e for e in lines(settings) if e["status"] == 401]) == 3
    service.ask("anna", "POST", "/jobs", json=LINE)
    service.ask("anna", "POST", "/jobs", json=LINE)
    assert [e["omitted"] for e in service.entries(limit=3)] == [None, 7, None]


def test_without_keys_all_actions_are_in(client: TestClient, settings: Settings) -> None:
    client.post("/jobs", json=LINE)
    (line,) = lines(settings)
    assert line["action"] == "POST /jobs"
    assert "key" not in line
    assert client.get("/audit").json()["data"][0]["object"] == line["object"]


def test_only_admins_read_it(service: Service) -> None:
    assert service.ask("anna", "GET", "/audit").status_code == 403
    assert service.ask(None, "GET", "/audit").status_code == 401


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"limit": 0}, "query.limit"),
        ({"limit": 1001}, "query.limit"),
        ({"after": "x"}, "query.after"),
        ({"after": "1-" + "9" * 40}, "query.after"),
        ({"since": "yesterday"}, "query.since"),
        ({"since": "2026-03-02T09:00:00"}, "query.since"),
        ({"owner": "a" * 201}, "query.owner"),
    ],
)
def test_bad_queries_are_told(service: Service, query: dict[str, Any], says: str) -> None:
    answer = service.ask("root", "GET", "/audit", params=query)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(says)


def test_a_full_disk_fails_no_request(service: Service, settings: Settings) -> None:
    settings.audit_file.unlink()
    settings.audit_file.mkdir()
    assert service.ask("anna", "POST", "/jobs", json=LINE).status_code == 202


@pytest.mark.parametrize(
    ("command", "action", "kind", "name"),
    [
        ("keys add ben", "epochd keys add", "key", "ben"),
        ("keys rotate root", "epochd keys rotate", "key", "root"),
        ("keys revoke root", "epochd keys revoke", "key", "root"),
        ("class create 7b --pupils 2", "epochd class create", "class", "7b"),
    ],
)
def test_commands_are_in(tmp_path: Path, command: str, action: str, kind: str, name: str) -> None:
    data_dir = ["--data-dir", str(tmp_path)]
    run = CliRunner().invoke
    assert run(app, ["keys", "add", "root", "--role", "admin", *data_dir]).exit_code == 0
    result = run(app, [*command.split(), *data_dir])
    assert result.exit_code == 0, result.output
    assert run(app, ["keys", "list", *data_dir]).exit_code == 0
    assert run(app, ["keys", "rotate", "nobody", *data_dir]).exit_code == 1
    first, line = lines(Settings(data_dir=tmp_path))
    assert first["object"] == "root"
    assert (line["action"], line["kind"], line["object"]) == (action, kind, name)
    assert line["address"] == "cli"
    assert line["user"]
    assert "status" not in line


def test_first_key_of_a_container_is_in(settings: Settings, tmp_path: Path) -> None:
    settings.data_dir.mkdir()
    prepare(settings.model_copy(update={"admin_key_file": tmp_path / "admin.key"}))
    (line,) = lines(settings)
    assert (line["action"], line["object"]) == ("epochd serve", "admin")
