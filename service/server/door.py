"""The names by which the service may be called, and the web pages that may act on it.

Every page that a user of this machine visits can send requests to it. By DNS rebinding, a page can
also read the responses: its own name then leads to this machine, but remains its name in `Host`.
"""

import socket
from collections.abc import Sequence
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address

from service.http.hosts import name_of
from service.http.origins import SAFE_METHODS, is_foreign
from service.server.refusals import Refusal
from service.settings import Settings

LOOPBACK = ("localhost", "*.localhost", "127.0.0.1", "::1")
ANY = "*"
MAX_SHOWN = 80

FOREIGN_PAGE = Refusal(
    HTTPStatus.FORBIDDEN,
    "the request comes from a web page of another origin; EPOCHD_CORS_ORIGINS allows origins",
)


class Door:
    """Checks of a request's head for who sends it."""

    def __init__(self, settings: Settings) -> None:
        self._names = _Names(settings)
        self._origins = {origin.encode() for origin in settings.cors_origins}
        self._allows_all = ANY.encode() in self._origins

    def fault_of(self, method: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Refusal | None:
        """Return the reason to refuse a request, if its head gives one."""
        fields = dict(headers)
        host = fields.get(b"host", b"")
        if host and not self._names.include(name := name_of(host)):
            return Refusal(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"this service is not called {name[:MAX_SHOWN]!r}; EPOCHD_ALLOWED_HOSTS allows "
                "further names",
            )
        if method.decode("latin-1") in SAFE_METHODS or self._allows_all:
            return None
        if fields.get(b"origin") in self._origins or not is_foreign(fields):
            return None
        return FOREIGN_PAGE


class _Names:
    """Names and addresses of this service."""

    def __init__(self, settings: Settings) -> None:
        # No browser connects to a Unix domain socket; the proxy that does has names of its own.
        wanted = [ANY] if settings.uds else [*LOOPBACK, _own_name(settings.host)]
        wanted += settings.allowed_hosts
        self._allow_all = ANY in wanted
        self._addresses = {address for name in wanted if (address := _address(name))}
        self._names = {name.lower() for name in wanted}
        self._endings = tuple(name[1:].lower() for name in wanted if name.startswith("*."))
        self._allow_addresses = _is_any_address(settings.host)

    def include(self, name: str) -> bool:
        """Return whether the service may be called `name`, a name or an address in lower case."""
        if self._allow_all or name in self._names or name.endswith(self._endings):
            return True
        address = _address(name)
        # DNS rebinding needs a name: it cannot change what an address leads to.
        return address is not None and (self._allow_addresses or address in self._addresses)


def _own_name(host: str) -> str:
    """Return the name or address of a service that listens on `host`."""
    return socket.gethostname() if _is_any_address(host) else host


def _is_any_address(host: str) -> bool:
    address = _address(host)
    return not host or (address is not None and address.is_unspecified)


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name)
    except ValueError:
        return None
