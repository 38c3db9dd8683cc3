"""Every error becomes a problem document that states and locates the mistake."""

import json
from typing import Annotated, Any, Literal

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field
from sqlalchemy.exc import OperationalError

from ml.errors import MAX_PLACE, Invalid
from service.app import create_app
from service.errors import Conflict, NotFound, Overloaded, Problem, Unprocessable
from service.http.problem_json import MEDIA_TYPE, install, problems, respond
from service.settings import Settings


class Circle(BaseModel):
    kind: Literal["circle"]
    radius: float


class Square(BaseModel):
    kind: Literal["square"]
    sides: list[float]


class Drawing(BaseModel):
    shape: Annotated[Circle | Square, Field(discriminator="kind")]


ERRORS: dict[str, Exception] = {
    "missing": NotFound("there is no such drawing"),
    "busy": Overloaded("too many drawings"),
    "field": Unprocessable.at(Invalid("is too small", ("size",)), "body", "dataset"),
    "http": HTTPException(418, "short and stout"),
    "sql": OperationalError("INSERT", {}, Exception("disk full")),
    "bug": ZeroDivisionError("division by zero"),
}


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    install(app)

    @app.post("/drawings")
    def draw(drawing: Drawing) -> str:
        return drawing.shape.kind

    @app.get("/errors/{name}")
    @app.get("/v2/errors/{name}")
    def fail(name: str) -> None:
        raise ERRORS[name]

    return TestClient(app, raise_server_exceptions=False)


def problem(client: TestClient, body: object) -> dict[str, Any]:
    response = client.post("/drawings", json=body)
    assert response.headers["content-type"] == MEDIA_TYPE
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    return document


@pytest.mark.parametrize(
    ("name", "status", "title", "detail"),
    [
        ("missing", 404, "Not Found", "there is no such drawing"),
        ("busy", 503, "Service Unavailable", "too many drawings"),
        ("field", 422, "Unprocessable Content", "body.dataset.size: is too small"),
        ("http", 418, "I'm a Teapot", "short and stout"),
        ("sql", 503, "Service Unavailable", "the database does not respond: disk full"),
        (
            "bug",
            500,
            "Internal Server Error",
            "an unexpected error occurred; the traceback is in the service's log",
        ),
    ],
)
def test_error_is_a_problem_document(
    client: TestClient, name: str, status: int, title: str, detail: str
) -> None:
    response = client.get(f"/errors/{name}")
    document = response.json()
    assert response.headers["content-type"] == MEDIA_TYPE
    assert (response.status_code, document["status"]) == (status, status)
    assert document["detail"] == detail
    assert document["title"] == title
    assert document["type"] == "urn:epochd:" + document["title"].lower().replace(" ", "-")


TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    507: "Insufficient Storage",
}


def test_every_status_has_a_fixed_title_and_type() -> None:
    assert {kind.status for kind in subclasses(Problem)} | {405, 500} == TITLES.keys()
    for status, title in TITLES.items():
        document = json.loads(bytes(respond(status, "").body))
        assert (document["status"], document["title"]) == (status, title)
        assert document["type"] == "urn:epochd:" + title.lower().replace(" ", "-")


def subclasses(kind: type[Problem]) -> set[type[Problem]]:
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_retryable_errors_have_retry_after(client: TestClient) -> None:
    waits = {name: client.get(f"/errors/{name}").headers.get("retry-after") for name in ERRORS}
    assert waits == dict.fromkeys(ERRORS) | {"busy": "1", "sql": "10"}


def test_errors_from_ml_keep_their_location(client: TestClient) -> None:
    [error] = client.get("/errors/field").json()["errors"]
    assert error == {"loc": ["body", "dataset", "size"], "msg": "is too small"}


def test_open_inference_errors_have_their_own_form(client: TestClient) -> None:
    response = client.get("/v2/errors/busy")
    assert response.json() == {"error": "too many drawings"}
    assert response.headers["content-type"] == "application/json"
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(
    ("shape", "loc", "msg"),
    [
        ({"kind": "circle"}, ["body", "shape", "radius"], "field required"),
        (
            {"kind": "square", "sides": [1, "long"]},
            ["body", "shape", "sides", 1],
            "input should be a valid number, unable to parse string as a number",
        ),
        (
            {"kind": "star"},
            ["body", "shape"],
            "unknown 'kind' 'star'; known: 'circle', 'square'",
        ),
    ],
)
def test_error_locations_refer_to_the_sent_document(
    client: TestClient, shape: dict[str, Any], loc: list[str | int], msg: str
) -> None:
    document = problem(client, {"shape": shape})
    assert document["errors"] == [{"loc": loc, "msg": msg}]
    assert document["detail"] == f"{'.'.join(map(str, loc))}: {msg}"


def test_first_error_is_the_detail(client: TestClient) -> None:
    document = problem(client, {"shape": {"kind": "square", "sides": ["a", "b", "c"]}})
    assert len(document["errors"]) == 3
    assert document["detail"].startswith("body.shape.sides.0: ")
    assert document["detail"].endswith("(and 2 more)")


def test_long_key_is_cut(settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        for path in ("/jobs", "/predict"):
            answer = client.post(path, json={"x" * 100_000: 1})
            assert answer.status_code == 422
            assert "x" * MAX_PLACE + "…" in answer.text
            assert len(answer.content) < 5000


@pytest.mark.parametrize(
    ("content", "headers", "status", "detail"),
    [
        (b'{"shape": ', {}, 400, "the body is not valid JSON: "),
        (b'{"shape": "\xff"}', {}, 400, "the body is not valid JSON: it is not UTF-8"),
        (b"{}", {"content-type": "text/plain"}, 415, "the body must be JSON; send it with"),
    ],
)
def test_malformed_json_is_a_problem_document(
    client: TestClient, content: bytes, headers: dict[str, str], status: int, detail: str
) -> None:
    headers = {"content-type": "application/json"} | headers
    response = client.post("/drawings", content=content, headers=headers)
    assert response.status_code == status
    assert response.json()["detail"].startswith(detail)


def test_routes_document_their_problem_responses() -> None:
    described = problems(NotFound, Conflict)
    assert list(described) == [404, 409]
    assert described[404]["description"] == NotFound.__doc__
    assert list(described[409]["content"]) == [MEDIA_TYPE]
