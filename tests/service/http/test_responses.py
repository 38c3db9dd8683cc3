"""Headers of every response: `HEAD`, CORS, security headers, addresses from proxies, log lines."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.logs import printable
from service.routes.charts import DRAWN
from service.settings import Settings
from tests.conftest import LINE

PAGE = "https://page.example"


@contextmanager
def serving(settings: Settings, **changes: Any) -> Iterator[TestClient]:
    app = create_app(settings.model_copy(update=changes))
    with TestClient(app, client=("10.0.0.7", 1234)) as client:
        yield client


def test_head_on_every_get(client: TestClient) -> None:
    client.post("/jobs", json=LINE)
    paths = [p for p, item in client.get("/openapi.json").json()["paths"].items() if "get" in item]
    assert {"/metrics", "/v2", "/jobs", "/health/live"} < set(paths)
    for path in (*paths, "/docs", "/redoc", "/openapi.json"):
        if path == "/jobs/{job_id}/events":
            continue  # does not end
        get, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        if path != "/metrics":  # which counts its own requests
            assert head.headers["content-length"] == str(len(get.content)), path
        assert head.headers["content-type"] == get.headers["content-type"]


def test_head_of_a_stream_of_events(client: TestClient) -> None:
    job_id = client.post("/jobs", json=LINE).json()["id"]
    head = client.head(f"/jobs/{job_id}/events")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    assert client.head("/jobs/none/events").status_code == 404


@pytest.mark.parametrize("path", ["/predict", "/evaluate", "/v2/repository/index"])
def test_head_without_get_is_refused(client: TestClient, path: str) -> None:
    head = client.head(path)
    assert head.status_code in (404, 405)
    assert head.headers.get("allow") == (None if head.status_code == 404 else "POST")


def test_head_is_counted_under_its_route(client: TestClient) -> None:
    client.head("/jobs/none")
    counted = 'count{method="HEAD",route="/jobs/{job_id}",status="404"} 1.0'
    assert counted in client.get("/metrics").text


def test_security_headers(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DRAWN, "svg", lambda *_: b"<svg/>")
    for path in ("/jobs", "/health/live", "/metrics", "/nothing", "/v2", "/openapi.json"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        policy = "default-src 'none'; frame-ancestors 'none'"
        assert headers.get_list("content-security-policy") == [policy]
    assert "nosniff" in client.post("/predict", content=b"x").headers["x-content-type-options"]
    [policy] = client.get("/jobs/a/charts/b.svg").headers.get_list("content-security-policy")
    assert {"sandbox", "default-src 'none'", "frame-ancestors 'none'"} <= set(policy.split("; "))


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_documentation_may_load_its_scripts(client: TestClient, path: str) -> None:
    page = client.get(path)
    [policy] = page.headers.get_list("content-security-policy")
    allowed = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert allowed["default-src"] == allowed["frame-ancestors"] == "'none'"
    # Scripts, styles and pictures that the page names.
    for kind, start in (("script", 'src="'), ("style", 'rel="stylesheet" type="text/css" href="')):
        for url in page.text.split(start)[1:]:
            origin = "/".join(url.split('"')[0].split("/")[:3])
            assert origin in allowed[f"{kind}-src"], (kind, url[:80])
    assert allowed["connect-src"] == "'self'"


def test_cors(settings: Settings) -> None:
    with serving(settings, cors_origins=(PAGE,)) as client:
        for path in ("/jobs", "/nothing"):
            asked = client.get(path, headers={"Origin": PAGE})
            assert asked.headers["access-control-allow-origin"] == PAGE
            asked = client.get(path, headers={"Origin": "https://evil.example"})
            assert "access-control-allow-origin" not in asked.headers
        wants = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "a"}
        preflight = client.options("/predict", headers={"Origin": PAGE} | wants)
        assert preflight.status_code == 200
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert client.post("/predict", headers={"Origin": PAGE}).headers[
            "access-control-allow-origin"
        ]
    with serving(settings) as client:
        answer = client.get("/jobs", headers={"Origin": PAGE})
        assert "access-control-allow-origin" not in answer.headers
        assert client.options("/predict", headers={"Origin": PAGE} | wants).status_code == 405


FORWARDED = {
    "X-Forwarded-For": "6.6.6.6, 192.0.2.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "epochd.example",
}


@pytest.mark.parametrize(
    ("proxies", "address", "url"),
    [
        ((), "10.0.0.7", "http://testserver/jobs"),
        (("10.0.0.8",), "10.0.0.7", "http://testserver/jobs"),
        (("10.0.0.7",), "192.0.2.9", "https://epochd.example/jobs"),
        (("10.0.0.0/8", "192.0.2.0/24"), "6.6.6.6", "https://epochd.example/jobs"),
    ],
)
def test_forwarded_headers_of_trusted_proxies(
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    proxies: tuple[str, ...],
    address: str,
    url: str,
) -> None:
    caplog.set_level(logging.INFO, "epochd.access")
    with serving(settings, trusted_proxies=proxies) as client:
        answer = client.get("/jobs/", headers=FORWARDED, follow_redirects=False)
    assert answer.headers["location"] == url
    assert caplog.messages[-1].startswith(f"{address} GET /jobs/ 307 ")


def test_log_line_has_no_control_characters(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "epochd.access")
    client.get("/jobs/%0AINFO%20forged%1B%5B2J%E2%80%AE%C3%A9%20x%7F")
    line = printable(caplog.messages[-1])
    assert line.startswith("testclient GET /jobs/\\nINFO forged\\x1b[2J\\u202eé x\\x7f 404 ")
