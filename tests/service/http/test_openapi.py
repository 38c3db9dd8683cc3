"""The OpenAPI description as generators of clients need it."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.http.openapi import for_generators
from service.settings import Settings

Schema = dict[str, Any]
REFERENCE = "#/components/schemas/"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), trainers=0)
    with TestClient(create_app(settings)) as client:
        document: Schema = client.get("/openapi.json").json()
    return document


@pytest.fixture(scope="module")
def operations(document: Schema) -> dict[str, Schema]:
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def objects(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Yield every object of a document with its path."""
    if isinstance(node, dict):
        yield path, node
        for key, child in node.items():
            yield from objects(child, (*path, key))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from objects(child, (*path, str(index)))


def test_operations_have_names_of_their_own(operations: dict[str, Schema]) -> None:
    ids = {line: operation["operationId"] for line, operation in operations.items()}
    assert [name for name, times in Counter(ids.values()).items() if times > 1] == []
    assert [name for name in ids.values() if not re.fullmatch("[a-z]+([A-Z][a-z]+)*", name)] == []
    assert ids["POST /jobs"] == "submitJob"
    assert ids["GET /jobs/{job_id}"] == "getJob"
    assert ids["GET /jobs"] == "listJobs"
    assert ids["PATCH /jobs/{job_id}"] == "changeJob"
    assert ids["POST /predict"] == "predict"
    assert ids["POST /models/{name}/versions/{version}/evaluate"] == "evaluateModel"
    assert ids["POST /v2/models/{name}/infer"] == "inferModel"
    assert ids["POST /v2/models/{name}/versions/{version}/infer"] == "inferModelVersion"


def test_parameters_are_described_and_those_of_the_path_are_required(
    operations: dict[str, Schema],
) -> None:
    wrong = []
    for line, operation in operations.items():
        parameters = operation.get("parameters", [])
        wrong += [(line, p["name"]) for p in parameters if not p.get("description")]
        in_path = {p["name"] for p in parameters if p["in"] == "path" and p["required"]}
        if in_path != set(re.findall(r"\{(\w+)\}", line)):
            wrong.append((line, "path"))
    assert wrong == []


def test_bodies_are_named_and_have_an_example(operations: dict[str, Schema]) -> None:
    wrong = []
    for line, operation in operations.items():
        content = operation.get("requestBody", {}).get("content", {})
        if content and not any(media.get("examples") for media in content.values()):
            wrong.append((line, "example"))
        bodies = [content, *(r.get("content", {}) for r in operation["responses"].values())]
        for media_type, media in (pair for body in bodies for pair in body.items()):
            if "properties" in media.get("schema", {}):
                wrong.append((line, media_type))
    assert wrong == []


def test_errors_have_one_schema(operations: dict[str, Schema]) -> None:
    found = {
        media["schema"]["$ref"]
        for operation in operations.values()
        for response in operation["responses"].values()
        for media_type, media in response.get("content", {}).items()
        if media_type == "application/problem+json"
    }
    assert found == {REFERENCE + "ProblemDocument"}


def test_schemas_are_what_generators_can_read(document: Schema) -> None:
    schemas = document["components"]["schemas"]
    assert [name for name, schema in schemas.items() if schema["title"] != name] == []
    assert [name for name in schemas if not re.fullmatch("[A-Za-z0-9]+", name)] == []
    wrong: list[object] = []
    for path, node in objects(document):
        if "examples" in path or "example" in path:
            continue
        references = {v for v in node.values() if isinstance(v, str) and v.startswith(REFERENCE)}
        wrong += [(path, v) for v in references if v.removeprefix(REFERENCE) not in schemas]
        if node.get("type") == "array" and "items" not in node:
            wrong.append((path, "items"))
        if "properties" in path[-2:-1] and isinstance(node.get("default"), dict | list):
            wrong.append((path, "default"))
    assert wrong == []


def test_a_default_that_is_an_object_is_told_in_words(document: Schema) -> None:
    split = document["components"]["schemas"]["JobRequest"]["properties"]["split"]
    assert "default" not in split
    assert split["description"].endswith('"stratify": false, "seed": 0}`.')


def test_a_property_may_be_called_title() -> None:
    body = {"title": "Film", "properties": {"title": {"type": "string"}}, "$defs": {"A": {}}}
    operation = {"responses": {"200": {"content": {"application/json": {"schema": body}}}}}
    document = for_generators(
        {"paths": {"/films": {"get": operation}}, "components": {"schemas": {"B-Input": {}}}}
    )
    assert document["components"]["schemas"] == {
        "A": {"title": "A"},
        "BInput": {"title": "BInput"},
        "Film": {"title": "Film", "properties": {"title": {"type": "string"}}},
    }
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/Film"}
