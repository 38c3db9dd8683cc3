"""`?wait=`: a response when the job has ended, or when the time is over."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from starlette.types import Message

from tests.conftest import LINE

LONG = {"wait": 60}
KEY = {"Idempotency-Key": "once"}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_an_ended_job_is_answered_at_once_and_a_waiting_one_in_time(client: TestClient) -> None:
    submitted = client.post("/jobs", json=LINE, params={"wait": 0.01}, headers=KEY)
    job = submitted.json()
    assert (submitted.status_code, job["status"]) == (202, "queued")
    assert submitted.headers["location"] == f"/jobs/{job['id']}"
    path = f"/jobs/{job['id']}"
    asked = client.get(path, params={"wait": 0.01})
    assert (asked.status_code, asked.json()["status"]) == (200, "queued")
    client.post(f"{path}/cancel")
    assert client.get(path, params=LONG).json()["status"] == "cancelled"
    again = client.post("/jobs", json=LINE, params=LONG, headers=KEY)
    assert (again.status_code, again.json()["id"]) == (200, job["id"])
    assert again.headers["idempotent-replayed"] == "true"


def test_responses_come_when_the_job_ends(client: TestClient, pool: ThreadPoolExecutor) -> None:
    path = f"/jobs/{client.post('/jobs', json=LINE, headers=KEY).json()['id']}"
    asked = pool.submit(client.get, path, params=LONG)
    sent = pool.submit(client.post, "/jobs", json=LINE, params=LONG, headers=KEY)
    client.post(f"{path}/cancel")
    for answer in (asked.result(), sent.result()):
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")


def test_the_job_of_a_response_may_be_deleted_meanwhile(
    client: TestClient, pool: ThreadPoolExecutor
) -> None:
    path = f"/jobs/{client.post('/jobs', json=LINE).json()['id']}"
    asked = pool.submit(client.get, path, params=LONG)
    client.delete(path)
    assert asked.result().status_code == 404
    assert client.get("/jobs/job_x", params=LONG).status_code == 404


def test_the_end_of_the_service_ends_waiting(client: TestClient, pool: ThreadPoolExecutor) -> None:
    job_id = client.post("/jobs", json=LINE).json()["id"]
    asked = pool.submit(client.get, f"/jobs/{job_id}", params=LONG)
    assert client.portal is not None
    client.portal.call(client.app.components.event_streams.close)  # type: ignore[attr-defined]
    assert asked.result().json()["status"] == "queued"


def test_waiting_ends_when_the_client_leaves(client: TestClient) -> None:
    job_id = client.post("/jobs", json=LINE).json()["id"]
    sent: list[Message] = []

    async def leave() -> None:
        received: list[Message] = [
            {"type": "http.request", "body": b"", "more_body": False},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Message:
            return received.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": f"/jobs/{job_id}",
            "raw_path": f"/jobs/{job_id}".encode(),
            "query_string": b"wait=60",
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "state": dict(client.app_state),
        }
        await client.app(scope, receive, send)

    assert client.portal is not None
    client.portal.call(leave)
    assert [message.get("status") for message in sent] == [499, None]


@pytest.mark.parametrize("seconds", ["-1", "61", "nan", "soon"])
def test_a_time_out_of_bounds_is_refused(client: TestClient, seconds: str) -> None:
    for method, path in (("POST", "/jobs"), ("GET", "/jobs/job_x")):
        answer = client.request(method, path, params={"wait": seconds}, json=LINE)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["loc"] == ["query", "wait"]
    assert client.get("/jobs").json()["data"] == []


def test_changes_over_http(client: TestClient) -> None:
    path = f"/jobs/{client.post('/jobs', json=LINE).json()['id']}"
    changed = client.patch(path, json={"priority": 7, "name": "other"}).json()
    assert (changed["name"], changed["options"]["priority"]) == ("other", 7)
    assert changed == client.get(path).json()
    for body, message in (
        ({"priority": 1001}, "less than or equal to 1000"),
        ({"name": "not a name!"}, "name"),
        ({"epochs": 3}, "unknown field"),
        ({"prioritty": 3}, "did you mean priority?"),
    ):
        refused = client.patch(path, json=body)
        assert (refused.status_code, message in refused.text) == (422, True), refused.text
    assert client.patch("/jobs/job_x", json={"priority": 1}).status_code == 404
