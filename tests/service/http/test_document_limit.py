"""Documents that would be expensive to parse, validate or describe."""

import json

import pytest
from fastapi.testclient import TestClient

from service.http.document_limit import MAX_BYTES, MAX_VALUES
from service.http.problem_json import MAX_ERRORS
from tests.conftest import LINE

JSON = {"content-type": "application/json"}


def unknown_keys(count: int) -> bytes:
    return json.dumps({f"k{n}": 0 for n in range(count)}).encode()


def deep(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (unknown_keys(1_000_000), 413, f"exceeds the limit of {MAX_BYTES:,} bytes"),
        (b"[" + b"1," * MAX_VALUES + b"1]", 413, f"more than {MAX_VALUES:,} values"),
        (b'{"model":' + b"[" * 100 + b"]" * 100 + b"}", 422, "nested more than 64 deep"),
        (b'{"model":[' + b"[]," * 200_000 + b"[]]}", 413, f"more than {MAX_VALUES:,} values"),
        (b'{"a":"' + b"[" * 100 + b'\\"' + b"[" * 100 + b'","b":' + deep(64) + b"}", 422, "nested"),
        (b"[" * 65, 422, "nested more than 64 deep"),
        (b'{"a":"' + b'\\"[' * 10_000, 400, "JSON"),
        (b'{"a":"' + b"[" * 100 + b"\\", 400, "JSON"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/jobs"),
        ("POST", "/expressions"),
        ("POST", "/models/line/versions/1/evaluate"),
        ("PUT", "/models/line/aliases/live"),
        ("POST", "/v2/repository/index"),
    ],
)
def test_a_document_is_measured_before_it_is_parsed(
    client: TestClient, method: str, path: str, body: bytes, status: int, says: str
) -> None:
    response = client.request(method, path, content=body, headers=JSON)
    assert response.status_code == status
    assert says in response.text


def test_validation_ends_with_the_first_unknown_key(client: TestClient) -> None:
    response = client.post("/jobs", content=unknown_keys(MAX_VALUES - 2), headers=JSON)
    assert response.status_code == 422
    assert [e["loc"] for e in response.json()["errors"]] == [["body", "dataset"], ["body", "k0"]]


def test_features_are_counted_before_they_are_validated(client: TestClient) -> None:
    features = {f"x{n}": 0 for n in range(20_000)}
    spec = LINE | {"dataset": {"kind": "synthetic", "features": features, "target": "1"}}
    response = client.post("/jobs", json=spec)
    assert response.status_code == 422
    errors = response.json()["errors"]
    assert len(errors) < 5
    assert "at most 1,000 features are allowed, not 20,000" in response.text
    columns = {"kind": "upload", "id": "a", "features": features}
    response = client.post("/jobs", json={"dataset": columns})
    assert response.status_code == 422
    assert "at most 4,096 features are allowed, not 20,000" in response.text


def test_errors_are_listed_up_to_a_hundred(client: TestClient) -> None:
    features = {f"x{n}": 0 for n in range(4000)}
    dataset = {"kind": "upload", "id": "a", "features": features}
    problem = client.post("/jobs", json={"dataset": dataset}).json()
    assert len(problem["errors"]) == MAX_ERRORS
    assert problem["detail"].endswith(" (and 3,999 more)")


def test_expressions_may_have_as_many_numbers_as_they_promise(client: TestClient) -> None:
    body = {"expression": "sum(x)", "variables": {"x": [[1]] * 10_000}}
    response = client.post("/expressions", json=body)
    assert response.json()["results"][0]["value"] == 10_000


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_an_instant_that_exists_only_in_its_time_zone(client: TestClient, instant: str) -> None:
    response = client.post("/jobs", json=LINE | {"not_before": instant})
    assert response.status_code == 422
    assert "years 1 to 9999" in response.text


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59+00:00"])
def test_the_ends_of_time(client: TestClient, instant: str) -> None:
    response = client.post("/jobs", json=LINE | {"not_before": instant})
    assert response.status_code == 202, response.text
    assert client.get(f"/jobs/{response.json()['id']}").status_code == 200
    assert client.get("/jobs").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"\\ud800": 1}',
        b'{"dataset": {"kind": "\\ud800"}}',
        b'{"dataset": {"kind": "mnist"}, "name": "\\ud800"}',
        b'{"dataset": {"kind": "mnist"}, "name": "a\\u0000b"}',
        b'{"dataset": {"kind": "synthetic", "features": {"\\ud800": {}}, "target": "1"}}',
        b'{"dataset": {"kind": "upload", "id": "\\ud800\\u0000"}}',
        b'{"dataset": {"kind": "mnist"}, "seed": 1e400}',
        b'{"dataset": {"kind": "mnist"}, "seed": 18446744073709551616}',
        b'{"dataset": {"kind": "mnist"}, "timeout_seconds": NaN}',
    ],
)
def test_characters_and_numbers_that_cannot_be_stored(client: TestClient, body: bytes) -> None:
    response = client.post("/jobs", content=body, headers=JSON)
    assert response.status_code == 422, response.text
    assert response.json()["errors"]


@pytest.mark.parametrize(
    "path",
    [
        "/jobs?limit=1e30",
        f"/jobs?limit={'9' * 5000}",
        "/jobs?after=%00",
        "/jobs?name=%00&status=queued",
        "/jobs?name=%ED%A0%80",
        "/jobs/%00",
        f"/jobs/x/metrics?after={2**63}",
        f"/models/line/versions/{2**63}",
        "/models/%00/aliases",
        "/datasets/%00",
        f"/datasets/x/batches?seed={2**64}",
        f"/v2/models/line/versions/{'9' * 5000}",
        "/v2/models/%ED%A0%80",
    ],
)
def test_paths_and_queries_at_the_ends_of_their_types(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (200, 400, 404, 422)


@pytest.mark.parametrize("reference", [f"plane@{'9' * 5000}", "plane@\x00", "\x00", "a" * 100_000])
def test_references_to_models(client: TestClient, reference: str) -> None:
    response = client.post("/predict", json={"model": reference, "inputs": [[1]]})
    assert response.status_code in (404, 422)
