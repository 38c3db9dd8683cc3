"""The OpenAPI description tells clients how to sign in, and where they need not."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.access.schemas import AuditEntry


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    document: dict[str, Any] = client.get("/openapi.json").json()
    return document


def test_schemes_are_those_that_the_service_accepts(
    document: dict[str, Any], client: TestClient
) -> None:
    schemes = document["components"]["securitySchemes"]
    assert document["security"] == [{name: []} for name in schemes]
    key = client.post("/keys", json={"name": "root", "role": "admin"}).json()["secret"]
    assert client.get("/jobs").status_code == 401
    assert (schemes["key"]["type"], schemes["key"]["scheme"]) == ("http", "bearer")
    assert client.get("/jobs", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    cookies = client.post("/session", json={"key": key}).cookies
    assert (schemes["session"]["type"], schemes["session"]["in"]) == ("apiKey", "cookie")
    assert schemes["session"]["name"] in cookies
    assert client.get("/jobs").status_code == 200


def test_operations_need_a_key_unless_they_are_public(
    document: dict[str, Any], client: TestClient
) -> None:
    client.post("/keys", json={"name": "root", "role": "admin"})
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            answer = client.request(method, path.replace("{form}", "svg"))
            is_public = operation.get("security") == []
            assert (answer.status_code != 401) == is_public, f"{method} {path}"
            assert {"401", "403", "429"} <= operation["responses"].keys()


def test_audit_has_an_example(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["AuditEntry"]
    (example,) = schema["examples"]
    assert example.keys() | {"user", "omitted"} == schema["properties"].keys()
    assert AuditEntry.model_validate(example).model_dump(mode="json", exclude_none=True) == example
    assert schema["properties"]["time"]["format"] == "date-time"
