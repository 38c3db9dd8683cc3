"""Names in the query of every route."""

import pytest
from fastapi.testclient import TestClient

from service.app import ROUTERS
from tests.conftest import LINE


def test_every_route_refuses_a_parameter_that_it_does_not_have(client: TestClient) -> None:
    wrong = []
    for router in ROUTERS:
        for route in router.routes:
            path = route.path.replace("{form}", "svg")  # type: ignore[attr-defined]
            for method in route.methods:  # type: ignore[attr-defined]
                answer = client.request(method, path + "?colour=red", json={})
                if (answer.status_code, "colour: unknown parameter" in answer.text) != (422, True):
                    wrong.append((method, path, answer.text))
    assert wrong == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/jobs?limt=5", "query.limt: unknown parameter; did you mean limit?"),
        ("/jobs?Status=queued", "query.Status: unknown parameter; did you mean status?"),
        ("/jobs?limit=5&limit=6", "query.limit: is given 2 times; give it once"),
        ("/keys?x=1", "query.x: unknown parameter; known: revoked"),
        ("/me?x=1", "query.x: unknown parameter; this route has none"),
        ("/jobs?after=job_x", "query.after: is no id of a job; take it from `next` of the page"),
        ("/datasets?after=job_x", "query.after: is no id of a data set; take it from `next`"),
    ],
)
def test_the_message_says_what_would_be_right(client: TestClient, path: str, message: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(message)
    place = ["query", path.partition("?")[2].partition("=")[0]]
    assert [error["loc"] for error in answer.json()["errors"]] == [place]


def test_a_list_may_be_repeated(client: TestClient) -> None:
    ids = [client.post("/jobs", json=LINE).json()["id"] for _ in range(3)]
    client.post(f"/jobs/{ids[0]}/cancel")
    client.post(f"/jobs/{ids[1]}/pause")
    found = client.get("/jobs?status=cancelled&status=paused").json()["data"]
    assert [job["id"] for job in found] == [ids[1], ids[0]]
    assert client.get("/jobs?status=queued&status=lost").status_code == 422
    uploaded = client.post("/datasets?text=a&text=b", content=b"a,b,c\nx,y,1\nz,w,2\n")
    kinds = [column["kind"] for column in uploaded.json()["contents"]["columns"]]
    assert kinds == ["text", "text", "numeric"]


def test_predictions_refuse_them_too(client: TestClient) -> None:
    for query, content_type in (
        ("dtyp=uint8", "application/octet-stream"),
        ("model=a&model=b", "image/png"),
        ("colour=red", "application/json"),
        ("colour=red", "application/x-ndjson"),
    ):
        headers = {"content-type": content_type}
        answer = client.post(f"/predict?{query}", content=b"{}", headers=headers)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["loc"][0] == "query"
