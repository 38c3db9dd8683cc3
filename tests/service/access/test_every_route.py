"""Every route and every role: who is let in."""

from typing import Any

from fastapi.routing import APIRoute

from service.access import rules
from service.app import ROUTERS
from tests.service.access.people import People

COLUMNS = (None, "prom", "shop", "vera", "ben", "anna", "root")
"""Nobody, a scraper, a predictor, a viewer, another member, the owner, and an admin."""

TABLE = """
                                                            nobody prom shop vera ben anna root
GET /health/live                                               +    +    +    +    +    +    +
GET /health/ready                                              +    +    +    +    +    +    +
GET /v2/health/live                                            +    +    +    +    +    +    +
GET /v2/health/ready                                           +    +    +    +    +    +    +
GET /sign-in                                                   +    +    +    +    +    +    +
POST /sign-in                                                  +    +    +    +    +    +    +
POST /session                                                  +    +    +    +    +    +    +
DELETE /session                                                -    +    +    +    +    +    +
GET /sessions                                                  -    +    +    +    +    +    +
DELETE /sessions/{session_id}                                  -    +    +    +    +    +    +
GET /me                                                        -    +    +    +    +    +    +
GET /openapi.json                                              -    +    +    +    +    +    +
GET /docs                                                      -    +    +    +    +    +    +
GET /docs/oauth2-redirect                                      -    +    +    +    +    +    +
GET /redoc                                                     -    +    +    +    +    +    +
GET /keys                                                      -    -    -    -    -    -    +
POST /keys                                                     -    -    -    -    -    -    +
GET /keys/{key}                                                -    -    -    -    -    -    +
DELETE /keys/{key}                                             -    -    -    -    -    -    +
POST /keys/{key}/rotate                                        -    -    -    -    -    -    +
POST /classes                                                  -    -    -    -    -    -    +
GET /audit                                                     -    -    -    -    -    -    +
GET /metrics                                                   -    +    -    -    -    -    +
GET /jobs                                                      -    -    -    +    +    +    +
POST /jobs                                                     -    -    -    -    +    +    +
GET /jobs/{job_id}                                             -    -    -    +    +    +    +
PATCH /jobs/{job_id}                                           -    -    -    -    -    +    +
DELETE /jobs/{job_id}                                          -    -    -    -    -    +    +
GET /jobs/{job_id}/metrics                                     -    -    -    +    +    +    +
GET /jobs/{job_id}/logs                                        -    -    -    +    +    +    +
GET /jobs/{job_id}/attempts                                    -    -    -    +    +    +    +
GET /jobs/{job_id}/events                                      -    -    -    +    +    +    +
GET /jobs/{job_id}/charts                                      -    -    -    +    +    +    +
GET /jobs/{job_id}/charts/{chart}.{form}                       -    -    -    +    +    +    +
POST /jobs/{job_id}/cancel                                     -    -    -    -    -    +    +
POST /jobs/{job_id}/pause                                      -    -    -    -    -    +    +
POST /jobs/{job_id}/resume                                     -    -    -    -    -    +    +
POST /jobs/{job_id}/retry                                      -    -    -    -    -    +    +
GET /queue                                                     -    -    -    +    +    +    +
GET /devices                                                   -    -    -    +    +    +    +
GET /usage                                                     -    -    -    +    +    +    +
GET /datasets                                                  -    -    -    +    +    +    +
POST /datasets                                                 -    -    -    -    +    +    +
GET /datasets/{dataset_id}                                     -    -    -    +    +    +    +
DELETE /datasets/{dataset_id}                                  -    -    -    -    -    +    +
GET /datasets/{dataset_id}/preview                             -    -    -    +    +    +    +
GET /datasets/{dataset_id}/batches                             -    -    -    +    +    +    +
GET /models                                                    -    -    -    +    +    +    +
POST /models/describe                                          -    -    -    -    +    +    +
GET /models/{name}                                             -    -    -    +    +    +    +
DELETE /models/{name}                                          -    -    -    -    -    +    +
GET /models/{name}/versions                                    -    -    -    +    +    +    +
GET /models/{name}/versions/{version}                          -    -    -    +    +    +    +
DELETE /models/{name}/versions/{version}                       -    -    -    -    -    +    +
GET /models/{name}/versions/{version}/evaluation               -    -    -    +    +    +    +
POST /models/{name}/versions/{version}/evaluate                -    -    -    -    +    +    +
GET /models/{name}/aliases                                     -    -    -    +    +    +    +
GET /models/{name}/aliases/{alias}                             -    -    -    +    +    +    +
PUT /models/{name}/aliases/{alias}                             -    -    -    -    -    +    +
DELETE /models/{name}/aliases/{alias}                          -    -    -    -    -    +    +
POST /expressions                                              -    -    -    -    +    +    +
POST /predict                                                  -    -    +    -    +    +    +
GET /v2                                                        -    -    +    +    +    +    +
GET /v2/models/stats                                           -    -    -    +    +    +    +
GET /v2/models/{name}                                          -    -    +    +    +    +    +
GET /v2/models/{name}/versions/{version}                       -    -    +    +    +    +    +
GET /v2/models/{name}/ready                                    -    -    +    +    +    +    +
GET /v2/models/{name}/versions/{version}/ready                 -    -    +    +    +    +    +
GET /v2/models/{name}/config                                   -    -    +    +    +    +    +
GET /v2/models/{name}/versions/{version}/config                -    -    +    +    +    +    +
GET /v2/models/{name}/stats                                    -    -    +    +    +    +    +
GET /v2/models/{name}/versions/{version}/stats                 -    -    +    +    +    +    +
POST /v2/models/{name}/infer                                   -    -    +    -    +    +    +
POST /v2/models/{name}/versions/{version}/infer                -    -    +    -    +    +    +
POST /v2/repository/index                                      -    -    +    +    +    +    +
POST /v2/repository/models/{name}/load                         -    -    -    -    -    +    +
POST /v2/repository/models/{name}/unload                       -    -    -    -    -    +    +
"""
EXPECTED = {
    f"{method} {path}": marks
    for method, path, *marks in (line.split() for line in TABLE.strip().splitlines()[1:])
}
STATIC = {"GET /openapi.json", "GET /docs", "GET /docs/oauth2-redirect", "GET /redoc"}
"""Routes of FastAPI's own."""
BODIES: dict[str, dict[str, Any]] = {
    "POST /predict": {"json": {"model": "line", "inputs": [[1.0]]}},
    "POST /expressions": {"json": {"expression": "1 + 1"}},
    "POST /models/describe": {"json": {"dataset": {"kind": "mnist"}}},
    "POST /datasets": {"content": b"a,b\n1,2\n3,4\n"},
    "PUT /models/{name}/aliases/{alias}": {"json": {"version": 1}},
    "PATCH /jobs/{job_id}": {"json": {"priority": 1}},
    "POST /sign-in": {"data": {"key": "epd_wrong"}},
}


def address(path: str, people: People) -> str:
    # The stream of a waiting job's events does not end.
    job = people.ended if path.endswith("events") else people.job
    values = {"job_id": job, "dataset_id": people.dataset, "name": "line", "version": "1"}
    values |= {"alias": "best", "chart": "loss", "form": "json", "key": "vera"}
    return path.format(**values, session_id="session_none")


def served() -> set[str]:
    routes = [route for router in ROUTERS for route in router.routes]
    assert all(isinstance(route, APIRoute) for route in routes)
    return STATIC | {
        f"{method} {route.path}" for route in routes for method in getattr(route, "methods", ())
    }


def test_every_route_has_its_row_here_and_its_rule() -> None:
    assert EXPECTED.keys() == served()
    assert rules.RULES.keys() == served()


def test_each_role_is_let_in_as_the_table_says(people: People) -> None:
    # The refused ones first, which change nothing, and at the end what deletes and revokes.
    cases = [
        (mark, line, who)
        for line, marks in EXPECTED.items()
        for who, mark in zip(COLUMNS, marks, strict=True)
    ]
    cases.sort(key=lambda case: (case[0] == "+", "{key}" in case[1], case[1].startswith("DELETE")))
    wrong = []
    for mark, line, who in cases:
        method, path = line.split()
        response = people.ask(who, method, address(path, people), **BODIES.get(line, {}))
        if response.status_code not in expected_statuses(line, who, mark):
            wrong.append((line, who, mark, response.status_code, response.text))
    assert wrong == []


def expected_statuses(line: str, who: str | None, mark: str) -> set[int]:
    if line in ("POST /session", "POST /sign-in"):
        return {401, 422}  # the body has no key that is right, or none
    if mark == "+":
        return set(range(200, 500)) - {401, 403}
    return {403 if who else 401}


def test_a_request_without_a_key_is_told_what_to_send(people: People) -> None:
    response = people.ask(None, "GET", "/jobs")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert "Authorization: Bearer epd_" in response.json()["detail"]
    assert people.ask(None, "GET", "/v2").json().keys() == {"error"}


def test_an_unlisted_path_is_hidden_and_an_unlisted_method_too(people: People) -> None:
    for path, method in (("/nothing", "GET"), ("/jobs", "PATCH"), ("/jobs/", "GET")):
        assert people.ask(None, method, path).status_code == 401
        assert people.ask("ben", method, path).status_code == 404
    assert people.ask("root", "GET", "/nothing").status_code == 404
    assert people.ask("root", "PATCH", "/jobs").status_code == 405


def test_nothing_tells_whether_another_members_object_exists(private: People) -> None:
    missing = {"job_id": "job_missing", "dataset_id": "ds_missing", "name": "missing"}
    others = {"version": "1", "alias": "best", "chart": "loss", "form": "json"}
    known = (private.job, private.ended, private.dataset, "'line'")
    absences = ("job_missing", "job_missing", "ds_missing", "'missing'")
    wrong = []
    for line in EXPECTED:
        method, path = line.split()
        if not any(f"{{{name}}}" in path for name in missing):
            continue
        options = BODIES.get(line, {})
        there = private.ask("ben", method, address(path, private), **options)
        absent = private.ask("ben", method, path.format(**missing, **others), **options)
        text = there.text
        for own, other in zip(known, absences, strict=True):
            text = text.replace(own, other)
        answers = (there.status_code, absent.status_code, text)
        if answers != (404, 404, absent.text):
            wrong.append((line, *answers, absent.text))
    assert wrong == []
