"""Browsers: signed in, kept in, and out."""

import re

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from service.access.authenticator import COOKIE
from service.access.session_store import MAX_SESSIONS, SessionStore
from service.app import create_app
from service.errors import Unauthorized
from service.settings import Settings
from service.storage.database import Database
from service.storage.shared_version import SharedVersion
from tests.conftest import LINE
from tests.service.access.people import People

HTML = {"Accept": "text/html,*/*"}
FOREIGN = {"Origin": "http://testserver:3000", "Sec-Fetch-Site": "same-site"}
"""Headers of a page on another port, to which SameSite cookies are sent."""


def signed_in(people: People, who: str = "anna") -> str:
    """Sign in and return the token of the session; the client keeps the cookie."""
    response = people.client.post("/session", json={"key": people.keys[who]})
    assert response.status_code == 201, response.text
    return people.client.cookies[COOKIE]


def test_the_cookie_is_for_this_service_only(people: People) -> None:
    response = people.client.post("/session", json={"key": people.keys["anna"]})
    [cookie] = response.headers.get_list("set-cookie")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert people.keys["anna"] not in cookie
    assert response.json()["key"] == "anna"
    assert people.get(None, "/me")["session"].startswith("session_")
    job = people.ask(None, "POST", "/jobs", json=LINE | {"name": "browsers"})
    assert (job.status_code, job.json()["owner"]) == (202, "anna")


def test_over_https_the_cookie_is_secure(people: People) -> None:
    body = {"key": people.keys["anna"]}
    response = people.client.post("https://testserver/session", json=body)
    assert "Secure" in response.headers["set-cookie"]


def test_a_sign_in_makes_a_new_token_whatever_the_browser_sends(people: People) -> None:
    people.client.cookies.set(COOKIE, "chosen-by-an-attacker")
    first = people.client.post("/session", json={"key": people.keys["anna"]})
    token = re.search(rf"{COOKIE}=([^;]+)", first.headers["set-cookie"])
    assert token is not None
    assert token[1] != "chosen-by-an-attacker"
    assert len(token[1]) > 40


@pytest.mark.parametrize("origins", [(), ("*",), ("http://testserver:3000",)])
def test_a_page_of_another_origin_does_not_act_for_who_is_signed_in(
    settings: Settings, people: People, origins: tuple[str, ...]
) -> None:
    token = signed_in(people)
    allowed = settings.model_copy(update={"cors_origins": origins})
    with TestClient(create_app(allowed), cookies={COOKIE: token}) as client:
        assert client.post("/jobs", json=LINE, headers=FOREIGN).status_code == 401
        assert client.delete(f"/jobs/{people.job}", headers=FOREIGN).status_code == 401
        own = {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}
        assert client.post("/jobs", json=LINE, headers=own).status_code == 202
        key = {"Authorization": f"Bearer {people.keys['anna']}"}
        assert client.post("/jobs", json=LINE, headers=FOREIGN | key).status_code == 202


@pytest.mark.parametrize("origins", [(), ("*",), ("http://testserver:3000",)])
def test_a_page_of_another_origin_signs_nobody_in(
    settings: Settings, people: People, origins: tuple[str, ...]
) -> None:
    """Else it could, as somebody else, whom the browser's user would then work for."""
    allowed = settings.model_copy(update={"cors_origins": origins})
    with TestClient(create_app(allowed)) as client:
        key = people.keys["ben"]
        for response in (
            client.post("/session", json={"key": key}, headers=FOREIGN),
            client.post("/sign-in", data={"key": key}, headers=FOREIGN, follow_redirects=False),
        ):
            assert (response.status_code, "set-cookie" in response.headers) == (403, False)


@pytest.mark.parametrize(
    "others", ['a={"b": "c d"}', "path=/", "version=1", "loose", "=", "a=\xe9", "a[0]=1", 'a="']
)
def test_cookies_of_other_applications_of_the_host_do_no_harm(people: People, others: str) -> None:
    mine = f"{COOKIE}={signed_in(people)}"
    people.client.cookies.clear()
    for cookie in (f"{others}; {mine}", f"{mine}; {others}", f"{COOKIE}=old; {others};{mine}"):
        response = people.client.get("/me", headers={"Cookie": cookie.encode("latin-1")})
        assert (response.status_code, response.json().get("owner")) == (200, "anna")


def test_two_sessions_at_once_are_none(people: People) -> None:
    """Another application of the host may have set one of the cookies."""
    tokens = []
    for who in ("anna", "ben"):
        people.client.cookies.clear()
        tokens.append(signed_in(people, who))
    people.client.cookies.clear()
    for first, second in (tokens, tokens[::-1]):
        both = {"Cookie": f"{COOKIE}={first}; {COOKIE}={second}"}
        assert people.client.get("/me", headers=both).status_code == 401


def test_a_key_that_is_rotated_while_its_sign_in_waits_begins_no_session(
    settings: Settings, people: People
) -> None:
    database = Database(settings.sqlalchemy_url)
    sessions = SessionStore(database, SharedVersion(settings.keys_version_file), 1.0)
    assert sessions.begin(people.keys["anna"], "", "").token
    people.store.rotate("anna")
    with pytest.raises(Unauthorized):
        sessions.begin(people.keys["anna"], "", "")
    database.close()


@pytest.mark.parametrize(
    ("body", "status"),
    [(b'{"key": "\\ud800"}', 401), (b'{"key": "' + b"x" * 40_000, 413), (b"x" * 40_000, 413)],
)
@pytest.mark.parametrize("announced", [True, False])
def test_strangers_send_small_bodies_only(
    people: People, body: bytes, status: int, announced: bool
) -> None:
    content = body if announced else iter([body])
    json = {"Content-Type": "application/json"}
    response = people.client.post("/session", content=content, headers=json)
    assert response.status_code == status


def test_sessions_are_listed_and_ended(people: People) -> None:
    signed_in(people, "ben")
    people.client.cookies.clear()
    signed_in(people)
    [mine] = people.get(None, "/sessions")["data"]
    assert (mine["key"], mine["current"], mine["address"]) == ("anna", True, "testclient")
    everybodys = people.get("root", "/sessions")["data"]
    assert [one["key"] for one in everybodys] == ["anna", "ben"]
    bens = everybodys[1]["id"]
    assert people.ask(None, "DELETE", f"/sessions/{bens}").status_code == 404
    assert people.ask("root", "DELETE", f"/sessions/{bens}").status_code == 204
    assert people.ask(None, "DELETE", "/session").status_code == 204
    assert COOKIE not in people.client.cookies
    assert people.get("root", "/sessions")["data"] == []
    assert people.ask("anna", "DELETE", "/session").status_code == 409


def test_a_session_ends_with_its_key(people: People) -> None:
    token = signed_in(people)
    assert people.get(None, "/me")["owner"] == "anna"
    people.ask("root", "POST", "/keys/anna/rotate")
    assert people.ask(None, "GET", "/me").status_code == 401
    assert "sign in again" in people.ask(None, "GET", "/me").json()["detail"]
    assert token


def test_a_key_has_so_many_sessions_and_no_more(people: People) -> None:
    tokens = []
    for _ in range(MAX_SESSIONS + 1):
        people.client.cookies.clear()
        tokens.append(signed_in(people))
    people.client.cookies.clear()

    def status(token: str) -> int:
        return people.client.get("/me", headers={"Cookie": f"{COOKIE}={token}"}).status_code

    assert [status(tokens[0]), status(tokens[1]), status(tokens[-1])] == [401, 200, 200]


def submit(client: TestClient, key: str, target: str = "/docs") -> Response:
    form = {"key": key, "next": target}
    return client.post("/sign-in", data=form, follow_redirects=False)


def test_a_browser_is_sent_to_the_page_to_sign_in_and_back(people: People) -> None:
    client = people.client
    response = client.get("/jobs?limit=3", headers=HTML, follow_redirects=False)
    assert response.status_code == 303
    page = client.get(response.headers["location"])
    assert 'value="/jobs?limit=3"' in page.text
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "form-action 'self'" in policy
    wrong = submit(client, "epd_wrong", "/jobs?limit=3")
    assert (wrong.status_code, 'role="alert"' in wrong.text) == (401, True)
    right = submit(client, people.keys["anna"], "/jobs?limit=3")
    assert (right.status_code, right.headers["location"]) == (303, "/jobs?limit=3")
    assert client.get("/jobs", headers=HTML).status_code == 200


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:1", "/\n/a"]
)
def test_no_link_leads_elsewhere_after_the_sign_in(people: People, target: str) -> None:
    response = submit(people.client, people.keys["anna"], target)
    assert response.headers["location"] == "/docs"
    assert "evil" not in people.client.get("/sign-in", params={"next": target}).text


def test_a_service_without_keys_has_nobody_to_sign_in(client: TestClient) -> None:
    assert client.post("/session", json={"key": "epd_x"}).status_code == 409
    assert submit(client, "epd_x").status_code in (303, 409)
