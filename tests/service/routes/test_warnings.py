"""Warnings of data sets and jobs over HTTP, and in the log of a job."""

from typing import Any

from fastapi.testclient import TestClient

from tests.conftest import LINE, PLANE
from tests.service.routes.test_datasets import FRUIT, send, sent

IDS = "\n".join(["id,size,y", *(f"{i},{i % 5},{i % 3}" for i in range(1, 61))]).encode()


def test_clean_data_has_no_warnings(client: TestClient) -> None:
    dataset = sent(client, FRUIT)
    assert dataset["warnings"] == []
    assert "warnings" not in dataset["contents"]
    for spec in (LINE, PLANE):
        job = client.post("/jobs", json=spec).json()
        assert [warning["kind"] for warning in job["warnings"]] == ["held_out"]


def test_warnings_of_a_data_set_are_shown_beside_its_contents(client: TestClient) -> None:
    response = send(client, IDS)
    dataset = response.json()
    assert dataset["warnings"] == [
        {
            "column": "id",
            "kind": "index",
            "message": "'id' numbers the rows, from 1 to 60; unless their order means something, "
            "leave it out with ignore, or of a job's features",
        }
    ]
    assert "warnings" not in dataset["contents"]
    assert client.get(response.headers["location"]).json() == dataset
    again = send(client, IDS)
    assert (again.status_code, again.json()) == (200, dataset)
    assert "warnings" not in client.get("/datasets").json()["data"][0]


def test_warnings_of_a_job_are_there_from_its_submission(client: TestClient) -> None:
    dataset = {"kind": "upload", "id": sent(client, IDS)["id"], "target": "y"}
    job = client.post("/jobs", json={"dataset": dataset}).json()
    found = {warning["kind"]: warning["column"] for warning in job["warnings"]}
    assert found == {"held_out": None, "few_values": "y", "index": "id"}
    assert client.get(f"/jobs/{job['id']}").json() == job
    chosen = dataset | {"task": "classification", "features": {"size": None}}
    job = client.post("/jobs", json={"dataset": chosen, "split": {"test": 0.2}}).json()
    assert job["warnings"] == []


def test_refused_target_names_its_field_and_the_remedy(client: TestClient) -> None:
    rows = b"x,y\n" + b"".join(b"%d.5,%d box\n" % (i, i) for i in range(30))
    dataset = sent(client, rows, target="y")
    assert [warning["kind"] for warning in dataset["warnings"]] == ["numbers_as_text"]
    refused = client.post("/jobs", json={"dataset": {"kind": "upload", "id": dataset["id"]}})
    assert refused.status_code == 422
    error = refused.json()["errors"][0]
    assert error["loc"] == ["body", "dataset", "target"] or "target" in error["loc"]
    assert "for classes say task=classification" in error["msg"]


def test_openapi_describes_every_kind(client: TestClient) -> None:
    schemas: dict[str, Any] = client.get("/openapi.json").json()["components"]["schemas"]
    kinds = schemas["DataWarning"]["properties"]["kind"]
    assert all(f"`{kind}`: " in kinds["description"] for kind in kinds["enum"])
    assert "warnings" not in schemas["TableSchema"]["properties"]
    for name in ("Dataset", "Job"):
        [[example]] = schemas[name]["properties"]["warnings"]["examples"]
        assert example["kind"] in kinds["enum"]
