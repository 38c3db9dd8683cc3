"""The job endpoints, without a trainer."""

from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from service.storage.database import Database
from tests.conftest import LINE
from tests.service.conftest import outdated
from tests.service.jobs.test_attempts import set_row


def test_job_is_accepted_and_shown_with_defaults(client: TestClient) -> None:
    response = client.post("/jobs", json={"dataset": {"kind": "mnist"}})
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/jobs/{job['id']}"
    assert client.get(response.headers["location"]).json() == job
    assert job["id"].startswith("job_")
    assert (job["name"], job["status"]) == ("mnist", "queued")
    spec = job["spec"]
    assert spec["model"] == {
        "kind": "mlp",
        "hidden": [512, 256],
        "activation": "relu",
        "dropout": [0.2, 0.0],
        "embedding": None,
    }
    assert spec["optimizer"]["kind"] == "adam"
    assert spec["optimizer"]["lr"] == 0.001
    assert spec["loss"] == {
        "kind": "cross_entropy",
        "label_smoothing": 0.0,
        "class_weights": None,
    }
    assert (spec["epochs"], spec["batch_size"]) == (10, 64)


def test_shown_spec_can_be_resubmitted(client: TestClient) -> None:
    spec = client.post("/jobs", json=LINE).json()["spec"]
    assert client.post("/jobs", json=spec).json()["spec"] == spec


def test_lists_are_paginated(client: TestClient) -> None:
    ids = [client.post("/jobs", json=LINE).json()["id"] for _ in range(3)]
    first = client.get("/jobs", params={"limit": 2}).json()
    assert [job["id"] for job in first["data"]] == ids[:0:-1]
    rest = client.get("/jobs", params={"limit": 2, "after": first["next"]}).json()
    assert [job["id"] for job in rest["data"]] == [ids[0]]
    assert rest["next"] is None


def test_cancelling_twice_is_a_conflict_that_names_the_status(client: TestClient) -> None:
    job_id = client.post("/jobs", json=LINE).json()["id"]
    assert client.post(f"/jobs/{job_id}/cancel").json()["status"] == "cancelled"
    response = client.post(f"/jobs/{job_id}/cancel")
    assert response.status_code == 409
    assert "is cancelled" in response.json()["detail"]


def test_idempotency_key_makes_retries_safe(client: TestClient) -> None:
    key = {"Idempotency-Key": "4f1c"}
    first, again = (client.post("/jobs", json=LINE, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    other = client.post("/jobs", json=LINE | {"seed": 1}, headers=key)
    assert other.status_code == 409
    assert first.json()["id"] in other.json()["detail"]
    too_long = client.post("/jobs", json=LINE, headers={"Idempotency-Key": "x" * 256})
    assert too_long.json()["errors"][0]["loc"] == ["header", "idempotency-key"]


def test_job_is_paused_resumed_cancelled_retried_and_deleted(client: TestClient) -> None:
    job = client.post("/jobs", json=LINE | {"priority": 3}).json()
    assert job["options"]["priority"] == 3
    for verb, status in (
        ("pause", "paused"),
        ("resume", "queued"),
        ("cancel", "cancelled"),
        ("retry", "queued"),
    ):
        response = client.post(f"/jobs/{job['id']}/{verb}")
        assert (response.status_code, response.json()["status"]) == (202, status)
    assert client.delete(f"/jobs/{job['id']}").status_code == 204
    assert client.get(f"/jobs/{job['id']}").status_code == 404


def test_events_of_a_finished_job_are_replayed_and_end(client: TestClient) -> None:
    job_id = client.post("/jobs", json=LINE).json()["id"]
    client.post(f"/jobs/{job_id}/cancel")
    response = client.get(f"/jobs/{job_id}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    queued, cancelled = response.text.strip().split("\n\n")
    assert queued.startswith("event: status\ndata: {")
    assert '"status":"cancelled"' in cancelled
    first, last = (event.rpartition("id: ")[2] for event in (queued, cancelled))
    rest = client.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": first})
    assert rest.text.strip() == cancelled
    # After the last event, 204 stops the client from reconnecting.
    over = client.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": last})
    assert (over.status_code, over.content) == (204, b"")


def test_new_job_has_no_attempts_and_logs(client: TestClient) -> None:
    job_id = client.post("/jobs", json=LINE).json()["id"]
    for part in ("attempts", "logs"):
        assert client.get(f"/jobs/{job_id}/{part}").json() == {"data": [], "next": None}


def test_jobs_survive_a_restart(settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        job = client.post("/jobs", json=LINE).json()
    with TestClient(create_app(settings)) as client:
        assert client.get(f"/jobs/{job['id']}").json() == job


def test_probes(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "ok"}
    assert client.get("/health/ready").json() == {"status": "ok", "warnings": []}


def test_every_openapi_job_example_is_accepted(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    content = paths["/jobs"]["post"]["requestBody"]["content"]["application/json"]
    for example in content["examples"].values():
        response = client.post("/jobs", json=example["value"])
        if "ds_" in str(example["value"]["dataset"]):
            assert "there is no data set" in response.json()["detail"]
        elif "after" in example["value"]:
            assert "there is no job" in response.json()["detail"]
        else:
            assert response.status_code == 202


def test_job_is_shown_as_stored(client: TestClient, settings: Settings) -> None:
    job = client.post("/jobs", json=LINE).json()
    spec = outdated(job["spec"])
    database = Database(settings.sqlalchemy_url)
    options = {"priority": 7, "max_attempts": 0}
    set_row(database, job["id"], spec=spec, options=options)
    database.close()
    shown = client.get(f"/jobs/{job['id']}").json()
    assert shown["spec"] == spec
    assert shown["options"] == job["options"] | options
    assert client.get("/jobs").json()["data"] == [shown]
    refused = client.get(f"/jobs/{job['id']}/charts")
    assert (refused.status_code, "model.linear.bias: " in refused.json()["detail"]) == (422, True)
    assert client.post(f"/jobs/{job['id']}/cancel").json()["spec"] == spec
