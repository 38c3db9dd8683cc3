"""`GET /queue`, `/devices` and `/usage`, quotas and `after`, over HTTP and with keys."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ml import devices
from service import memory
from service.access.caller import Role
from service.access.schemas import KeyRequest
from service.app import create_app
from service.jobs.attempts import AttemptStore
from service.settings import Settings
from service.settings.quotas import parse_quotas
from service.storage.database import Database
from service.training.roster import Place, Roster
from tests.conftest import LINE
from tests.service.conftest import claimed

ROLES = {"root": Role.ADMIN, "anna": Role.MEMBER, "ben": Role.MEMBER, "app": Role.PREDICTOR}


class School:
    """A service with keys."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        keys = client.app_state["components"].keys
        self.secrets = {
            name: keys.add(KeyRequest(name=name, role=role)).secret for name, role in ROLES.items()
        }

    def ask(self, who: str, method: str, path: str, **arguments: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.secrets[who]}"}
        return self.client.request(method, path, headers=headers, **arguments)

    def submit(self, who: str, **options: Any) -> Any:
        return self.ask(who, "POST", "/jobs", json=LINE | {"name": f"of-{who}"} | options)


@pytest.fixture
def school(settings: Settings) -> Iterator[Callable[..., School]]:
    """Start a school with other settings."""
    with ExitStack() as stack:

        def start(**changes: Any) -> School:
            app = create_app(settings.model_copy(update=changes))
            return School(stack.enter_context(TestClient(app, raise_server_exceptions=False)))

        yield start


def test_queue_shows_turns_and_only_what_may_be_seen(school: Callable[..., School]) -> None:
    service = school(members_see="own")
    annas = [service.submit("anna").json()["id"] for _ in range(2)]
    bens = service.submit("ben").json()["id"]
    first = service.submit("root", priority=3).json()["id"]
    queue = service.ask("root", "GET", "/queue").json()
    assert [(e["position"], e["job"], e["owner"]) for e in queue["data"]] == [
        (1, first, "root"),
        (2, annas[0], "anna"),
        (3, bens, "ben"),
        (4, annas[1], "anna"),
    ]
    assert queue["next"] is None
    assert queue["data"][0] | {"created_at": ""} == {
        "position": 1,
        "job": first,
        "name": "of-root",
        "owner": "root",
        "priority": 3,
        "created_at": "",
        "expected_start": None,
        "held": None,
    }
    own = service.ask("ben", "GET", "/queue").json()["data"]
    assert [(entry["position"], entry["job"]) for entry in own] == [(3, bens)]
    page = service.ask("root", "GET", "/queue?limit=3").json()
    assert (len(page["data"]), page["next"]) == (3, "3")
    rest = service.ask("root", "GET", "/queue?limit=3&after=3").json()
    assert [entry["job"] for entry in rest["data"]] == [annas[1]]
    assert service.ask("app", "GET", "/queue").status_code == 403
    assert service.ask("anna", "GET", "/queue?limit=0").status_code == 422
    assert service.ask("anna", "GET", "/queue?after=x").status_code == 422


def test_waiting_quota_is_a_problem_that_says_what_to_do(school: Callable[..., School]) -> None:
    service = school(quotas=parse_quotas("member: waiting=3"))
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda _: service.submit("anna"), range(50)))
    assert Counter(answer.status_code for answer in answers) == {202: 3, 429: 47}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["retry-after"] == "10"
    document = refused.json()
    assert (document["type"], document["status"]) == ("urn:epochd:quota", 429)
    assert document["detail"].startswith("anna has 3 jobs waiting, and the quota is 3")
    assert service.submit("ben").status_code == service.submit("root").status_code == 202


def test_stored_quota_refuses_uploads(school: Callable[..., School], settings: Settings) -> None:
    service = school(quotas=parse_quotas("member: stored_mb=0.001"))
    small, large = b"a,b\n" + b"1,2\n" * 150, b"a,b\n" + b"1,2\n" * 300
    answer = service.ask("anna", "POST", "/datasets?name=small", content=small)
    assert answer.status_code == 201, answer.text
    # The same again stores nothing.
    again = service.ask("anna", "POST", "/datasets?name=small", content=small)
    assert again.json()["id"] == answer.json()["id"]
    for content in (large, b"a,b\n" + b"3,4\n" * 150):
        refused = service.ask("anna", "POST", "/datasets", content=content)
        assert refused.status_code == 429, refused.text
        assert "anna stores 0.0 MB of uploads and models" in refused.json()["detail"]
        assert refused.headers["retry-after"] == "60"
    assert service.ask("root", "POST", "/datasets", content=large).status_code == 201
    assert list(settings.incoming_dir.iterdir()) == []


def test_prediction_quota_holds_at_both_doors(school: Callable[..., School]) -> None:
    service = school(quotas=parse_quotas("predictor: predictions_per_second=0.001"))
    body = {"model": "none", "inputs": [[1.0]]}
    assert service.ask("app", "POST", "/predict", json=body).status_code == 404
    refused = service.ask("app", "POST", "/predict", json=body)
    assert refused.status_code == 429
    assert "app sends more than 0.001 prediction requests a second" in refused.json()["detail"]
    assert int(refused.headers["retry-after"]) in range(990, 1001)
    other = service.ask("app", "POST", "/v2/models/none/infer", json={"inputs": []})
    assert other.status_code == 429
    assert "quota" in other.json()["error"]
    assert "retry-after" in other.headers
    assert service.ask("anna", "POST", "/predict", json=body).status_code == 404


def test_job_comes_after_others(client: TestClient) -> None:
    first = client.post("/jobs", json=LINE).json()["id"]
    second = client.post("/jobs", json=LINE | {"after": [first]}).json()
    assert second["options"]["after"] == [first]
    [_, entry] = client.get("/queue").json()["data"]
    assert (entry["job"], entry["position"]) == (second["id"], None)
    assert entry["held"] == {
        "by": "after",
        "detail": f"waits for {first} to succeed",
        "until": None,
    }
    client.post(f"/jobs/{first}/cancel")
    job = client.get(f"/jobs/{second['id']}").json()
    assert (job["status"], job["error"]["kind"]) == ("failed", "dependency_failed")
    assert client.post(f"/jobs/{second['id']}/retry").status_code == 409
    refused = client.post("/jobs", json=LINE | {"after": [first]})
    assert refused.status_code == 409
    assert refused.json()["errors"][0]["loc"] == ["body", "after", 0]


@pytest.mark.parametrize(
    ("after", "loc"),
    [
        (["job_x"], ["body", "after", 0]),
        ("job_x", ["body", "after"]),
        ([1], ["body", "after", 0]),
        (["x" * 41], ["body", "after", 0]),
        ([f"job_{n}" for n in range(21)], ["body", "after"]),
    ],
)
def test_bad_jobs_to_come_after_are_named(
    client: TestClient, after: object, loc: list[str]
) -> None:
    answer = client.post("/jobs", json=LINE | {"after": after})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == loc


def test_devices_show_what_runs_on_them(
    school: Callable[..., School], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = school(members_see="own")
    assert service.ask("root", "GET", "/devices").json() == {"data": [], "next": None}
    monkeypatch.setattr(devices, "used_bytes", lambda: {0: 3})
    monkeypatch.setattr(devices, "total_bytes", lambda: {0: 8})
    monkeypatch.setattr(memory, "machine_memory", lambda: (5, 16))
    places = [
        Place(0, "cuda:0", "host:1:2"),
        Place(1, "cpu", "host:1:3"),
        Place(2, "cuda:1", None),
    ]
    Roster(settings.roster_file).write(places)
    job_id = service.submit("anna").json()["id"]
    database = Database(settings.sqlalchemy_url)
    attempts = AttemptStore(database, settings)
    claim = attempts.claim("host:1:2")
    assert claim is not None
    answer = service.ask("root", "GET", "/devices").json()["data"]
    assert answer == [
        {
            "trainer": 0,
            "device": "cuda:0",
            "state": "loading",
            "job": job_id,
            "owner": "anna",
            "steps_per_second": None,
            "memory": {"used": 3, "total": 8},
        },
        {
            "trainer": 1,
            "device": "cpu",
            "state": "idle",
            "job": None,
            "owner": None,
            "steps_per_second": None,
            "memory": {"used": 5, "total": 16},
        },
        {
            "trainer": 2,
            "device": "cuda:1",
            "state": "starting",
            "job": None,
            "owner": None,
            "steps_per_second": None,
            "memory": None,
        },
    ]
    attempts.mark_started(claim, "cuda:0", "resident", 0, 200)
    service.ask("anna", "POST", f"/jobs/{job_id}/pause")
    database.close()
    seen, *_ = service.ask("ben", "GET", "/devices").json()["data"]
    assert (seen["state"], seen["job"], seen["owner"]) == ("leaving", None, None)


def test_machine_memory_is_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "meminfo"
    monkeypatch.setattr(memory, "MEMINFO", file)
    assert memory.machine_memory() is None
    file.write_text("MemTotal:       16 kB\nMemFree:   1 kB\nMemAvailable:   12 kB\nHugePages: 0\n")
    assert memory.machine_memory() == (4096, 16384)


def test_usage_is_shown_by_owner_and_day(school: Callable[..., School], settings: Settings) -> None:
    service = school(members_see="own")
    database = Database(settings.sqlalchemy_url)
    attempts = AttemptStore(database, settings)
    for who in ("anna", "ben"):
        service.submit(who)
        claimed(attempts)
    database.close()
    answer = service.ask("root", "GET", "/usage").json()
    assert [(use["owner"], use["jobs"]) for use in answer["data"]] == [("anna", 0), ("ben", 0)]
    assert all(0 <= use["device_seconds"] < 60 for use in answer["data"])
    own = service.ask("ben", "GET", "/usage?days=1").json()["data"]
    assert [use["owner"] for use in own] == ["ben"]
    chosen = service.ask("root", "GET", "/usage?owner=anna").json()["data"]
    assert [use["owner"] for use in chosen] == ["anna"]
    for days in ("0", "367", "x"):
        assert service.ask("root", "GET", f"/usage?days={days}").status_code == 422
