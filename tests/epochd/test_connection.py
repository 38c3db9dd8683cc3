"""Where the client finds its service, and what it sends with every request."""

import httpx
import pytest

from epochd import AsyncClient, Client
from epochd.connection import Connection
from tests.epochd.samples import ME
from tests.epochd.transports import KINDS, answers


def test_the_address_is_by_default_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert repr(Client()) == "Client('http://127.0.0.1:8000')"
    monkeypatch.setenv("EPOCHD_URL", "https://lab.example/epochd/")
    assert repr(Client()) == "Client('https://lab.example/epochd')"
    assert repr(AsyncClient("http://other")) == "AsyncClient('http://other')"


@pytest.mark.parametrize("kind", KINDS)
def test_the_key_is_sent_and_not_shown(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPOCHD_KEY", "epd_other")
    for key, sent in ((None, "Bearer epd_other"), ("epd_mine\n", "Bearer epd_mine")):
        service = answers(httpx.Response(200, json=ME))
        service.run(kind, lambda client: client.me(), key=key)
        assert service.requests[0].headers["Authorization"] == sent
    assert "epd_" not in repr(Connection.of(None, None, 1))


def test_without_a_key_none_is_sent() -> None:
    service = answers(httpx.Response(200, json=ME))
    service.client().me()
    assert "Authorization" not in service.requests[0].headers


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "x", "http://[::1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="url: "):
        Client(url)


def test_a_key_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(ValueError, match="key: ") as caught:
        Client(key="epd_…")
    assert "epd_" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("http://127.0.0.1:8000", False),
        ("http://localhost", False),
        ("http://[::1]:8000", False),
        ("http://192.168.1.2", True),
        ("http://lab", True),
    ],
)
def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(url: str, trusted: bool) -> None:
    assert Connection.of(url, None, 1).options()["trust_env"] is trusted


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_does_not_lead_to_another_path(name: str) -> None:
    with pytest.raises(ValueError, match="neither an id nor a name"):
        answers(httpx.Response(204)).client().revoke_key(name)


def test_names_may_have_any_characters() -> None:
    service = answers(httpx.Response(204))
    service.client().revoke_key("a/b?c#d e")
    assert service.requests[0].url.raw_path == b"/keys/a%2Fb%3Fc%23d%20e"
