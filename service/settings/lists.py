"""Lists in settings, written with commas: names of hosts, addresses and origins."""

from ipaddress import ip_network
from re import fullmatch
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

UNIX = "unix"
"""Stands, among trusted proxies, for the peers of a Unix domain socket, which have no address."""


def _split(value: object) -> object:
    return (
        [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, str)
        else value
    )


def _network(value: str) -> str:
    if value == UNIX:
        return value
    try:
        ip_network(value)
    except ValueError as error:
        raise ValueError(
            f"{error}; give addresses such as 10.0.0.7, networks such as 10.0.0.0/8, or {UNIX} for "
            "the proxy of a Unix domain socket"
        ) from None
    return value


def _origin(value: str) -> str:
    if value != "*" and not fullmatch(r"https?://[^/\s,]+", value):
        raise ValueError(
            f"{value!r} is not an origin such as https://app.example.com, without a path, or *"
        )
    return value


def _host(value: str) -> str:
    if value != "*" and not fullmatch(r"(\*\.)?[\w-]+(\.[\w-]+)*|[0-9A-Fa-f:]+", value):
        raise ValueError(
            f"{value!r} is not a name such as epochd.example.com, without a scheme or a port, nor "
            "*.example.com, an address or *"
        )
    return value


Hosts = Annotated[
    tuple[Annotated[str, AfterValidator(_host)], ...], NoDecode, BeforeValidator(_split)
]
Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_network)], ...], NoDecode, BeforeValidator(_split)
]
Origins = Annotated[
    tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(_split)
]
