"""The door refuses unknown names of the service and web pages of other origins."""

import asyncio
import json
import socket
from collections.abc import Callable

import pytest

from service.server.door import Door
from service.settings import Settings
from tests.service.server.conftest import Client, Scenario, request, rows, with_fast_path

Serve = Callable[[Scenario], None]
Fields = dict[str, str]

HERE = "localhost:8000"
EVIL = "http://evil.example"


def status(fields: Fields, method: str = "POST", **settings: object) -> int:
    """Return the status with which a request is refused, 200 if it is not."""
    door = Door(Settings.model_validate(settings))
    headers = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    fault = door.fault_of(method.encode(), headers)
    return fault.status if fault else 200


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("host", "settings", "wanted"),
    [
        ("localhost", {}, 200),
        ("LOCALHOST:8000", {}, 200),
        ("localhost.:8000", {}, 200),
        ("app.localhost", {}, 200),
        ("127.0.0.1:8000", {}, 200),
        ("[::1]:8000", {}, 200),
        ("[0:0:0:0:0:0:0:1]", {}, 200),
        ("", {}, 200),
        ("evil.example", {}, 421),
        ("evil.example:8000", {}, 421),
        ("localhost.evil.example", {}, 421),
        ("127.0.0.1.evil.example", {}, 421),
        ("evillocalhost", {}, 421),
        ("192.0.2.7", {}, 421),
        ("0.0.0.0", {}, 421),
        ("192.0.2.7", {"host": "192.0.2.7"}, 200),
        ("192.0.2.8", {"host": "192.0.2.7"}, 421),
        ("gpu-box", {"host": "gpu-box"}, 200),
        ("192.0.2.7", {"host": "0.0.0.0"}, 200),
        ("[2001:db8::1]:8000", {"host": "::"}, 200),
        (socket.gethostname(), {"host": "0.0.0.0"}, 200),
        ("evil.example", {"host": "0.0.0.0"}, 421),
        ("epochd.example.com", {"allowed_hosts": "epochd.example.com"}, 200),
        ("Epochd.Example.com:443", {"allowed_hosts": "EPOCHD.example.com"}, 200),
        ("localhost", {"allowed_hosts": "epochd.example.com"}, 200),
        ("a.epochd.example.com", {"allowed_hosts": "epochd.example.com"}, 421),
        ("a.b.example.com", {"allowed_hosts": "*.example.com"}, 200),
        ("example.com", {"allowed_hosts": "*.example.com"}, 421),
        ("2001:db8::1", {"allowed_hosts": "2001:db8::1"}, 421),
        ("[2001:db8::1]", {"allowed_hosts": "2001:db8::1"}, 200),
        ("evil.example", {"allowed_hosts": "*"}, 200),
        ("epochd", {"uds": "epochd.sock"}, 200),
    ],
)
def test_other_names_are_misdirected(
    host: str, settings: dict[str, object], wanted: int, method: str
) -> None:
    assert status({"Host": host}, method, **settings) == wanted


@pytest.mark.parametrize(
    ("fields", "settings", "wanted"),
    [
        ({}, {}, 200),
        ({"Origin": f"http://{HERE}"}, {}, 200),
        ({"Origin": f"https://{HERE}"}, {}, 200),
        ({"Origin": EVIL}, {}, 403),
        ({"Origin": "http://localhost:3000"}, {}, 403),
        ({"Origin": "http://localhost"}, {}, 403),
        ({"Origin": "null"}, {}, 403),
        ({"Origin": ""}, {}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, {}, 200),
        ({"Sec-Fetch-Site": "none"}, {}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, {}, 403),
        ({"Sec-Fetch-Site": "same-site"}, {}, 403),
        ({"Sec-Fetch-Site": "something new"}, {}, 403),
        # Behind a proxy that sends a host of its own.
        ({"Origin": "https://e.example", "Sec-Fetch-Site": "same-origin"}, {}, 200),
        ({"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}, {"cors_origins": EVIL}, 200),
        ({"Origin": EVIL}, {"cors_origins": "http://other.example"}, 403),
        ({"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}, {"cors_origins": "*"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, {"cors_origins": "http://other.example"}, 403),
    ],
)
def test_pages_of_other_origins_may_not_act(
    fields: Fields, settings: dict[str, object], wanted: int
) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert status({"Host": HERE} | fields, method, **settings) == wanted
    for method in ("GET", "HEAD", "OPTIONS"):
        assert status({"Host": HERE} | fields, method, **settings) == 200


def test_refusals_stand_before_every_route_and_close_the_connection(serve: Serve) -> None:
    async def scenario(client: Client) -> None:
        # The head of a good request is cached; those of others are not taken for it.
        assert (await client.ask(request(rows(1))))[0] == 200
        code, headers, body = await client.ask(request(rows(1), Host="evil.example"))
        assert (code, headers["content-type"]) == (421, "application/problem+json")
        assert "'evil.example'" in json.loads(body)["detail"]
        assert "EPOCHD_ALLOWED_HOSTS" in json.loads(body)["detail"]
        assert await client.ended()

    serve(scenario)


def test_a_page_of_another_origin_is_told(serve: Serve) -> None:
    async def scenario(client: Client) -> None:
        code, headers, body = await client.ask(request(rows(1), Origin=EVIL))
        assert (code, headers["content-type"]) == (403, "application/problem+json")
        assert "EPOCHD_CORS_ORIGINS" in json.loads(body)["detail"]
        assert await client.ended()

    serve(scenario)


@with_fast_path
def test_refused_changes_are_in_the_audit_log(serve: Serve, settings: Settings) -> None:
    async def scenario(client: Client) -> None:
        await client.ask(request(rows(1)))
        change = f"POST /jobs HTTP/1.1\r\nHost: {HERE}\r\nOrigin: {EVIL}\r\n\r\n"
        _, headers, _ = await client.ask(change.encode())
        while not settings.audit_file.exists() or not settings.audit_file.read_bytes():
            await asyncio.sleep(0)
        (line,) = map(json.loads, settings.audit_file.read_bytes().splitlines())
        assert line["request_id"] == headers["x-request-id"]
        assert (line["action"], line["status"]) == ("POST /jobs", 403)
        assert line["address"] == "127.0.0.1"

    serve(scenario)


@with_fast_path
def test_refused_predictions_are_not(serve: Serve, settings: Settings) -> None:
    async def scenario(client: Client) -> None:
        assert (await client.ask(request(rows(1), Origin=EVIL)))[0] == 403

    serve(scenario)
    assert not settings.audit_file.exists()
