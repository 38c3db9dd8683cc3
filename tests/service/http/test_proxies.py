"""Headers of reverse proxies, believed or not."""

from typing import Any

import pytest
from starlette.types import Scope

from service.http.proxies import TrustedProxies

FORWARDED = {
    "x-forwarded-for": "6.6.6.6, 192.0.2.9",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "evil.example, epochd.example:8443",
}


def believed(proxies: tuple[str, ...], client: Any, **changes: str) -> Scope:
    headers = FORWARDED | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope: Scope = {
        "client": client,
        "scheme": "http",
        "headers": [(b"host", b"inner"), *lines],
    }
    TrustedProxies(proxies).believe(scope)
    return scope


def host(scope: Scope) -> bytes:
    [found] = [value for name, value in scope["headers"] if name == b"host"]
    return bytes(found)


@pytest.mark.parametrize(
    ("proxies", "client"),
    [
        (("10.0.0.7",), ("10.0.0.7", 1)),
        (("10.0.0.0/8", "unix"), ("10.0.0.7", 1)),
        (("10.0.0.0/8", "unix"), None),
        (("unix",), None),
    ],
)
def test_trusted(proxies: tuple[str, ...], client: Any) -> None:
    scope = believed(proxies, client)
    assert scope["client"] == ("192.0.2.9", 0)
    assert scope["scheme"] == "https"
    assert host(scope) == b"epochd.example:8443"


@pytest.mark.parametrize(
    ("proxies", "client"),
    [
        ((), None),
        ((), ("10.0.0.7", 1)),
        (("10.0.0.7",), None),
        (("unix",), ("10.0.0.7", 1)),
        (("10.0.0.7", "unix"), ("10.0.0.8", 1)),
    ],
)
def test_not_trusted(proxies: tuple[str, ...], client: Any) -> None:
    scope = believed(proxies, client)
    assert (scope["client"], scope["scheme"], host(scope)) == (client, "http", b"inner")


def test_values_that_cannot_be_right_are_ignored() -> None:
    scope = believed(
        ("unix",), None, x_forwarded_for=" ", x_forwarded_proto="gopher", x_forwarded_host="a/b"
    )
    assert (scope["client"], scope["scheme"], host(scope)) == (None, "http", b"inner")
