"""`X-Forwarded-*` headers of the reverse proxies that the operator trusts."""

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from service.http.hosts import is_host
from service.settings.lists import UNIX

FORWARDED_FOR = b"x-forwarded-for"
FORWARDED_PROTO = b"x-forwarded-proto"
FORWARDED_HOST = b"x-forwarded-host"
SCHEMES = ("http", "https")


class TrustedProxies:
    """The addresses and networks of reverse proxies; `UNIX` may be among them."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._hosts = ProxyHeadersMiddleware(_nothing, list(addresses)).trusted_hosts

    def trusts(self, address: str) -> bool:
        """Return whether a peer is trusted; the address of one without is empty."""
        return (address or UNIX) in self._hosts

    def believe(self, scope: Scope) -> None:
        """Set the client's address, the scheme and the host of a request to those in
        `X-Forwarded-For`, `-Proto` and `-Host`, if the peer is trusted."""
        client = scope.get("client")
        if not self.trusts(client[0] if client else ""):
            return
        if lines := _lines(scope, FORWARDED_FOR):
            address, port = self._hosts.get_trusted_client_address(", ".join(lines))
            if address:
                scope["client"] = address, port
        if (lines := _lines(scope, FORWARDED_PROTO)) and lines[-1] in SCHEMES:
            scope["scheme"] = lines[-1]
        if lines := _lines(scope, FORWARDED_HOST):
            # The proxy that is trusted appends to what the client sent.
            host = lines[-1].rpartition(",")[2].strip().encode("latin-1")
            if is_host(host):
                others = [header for header in scope["headers"] if header[0] != b"host"]
                scope["headers"] = [(b"host", host), *others]


class ForwardedHeaders:
    """ASGI middleware that believes the trusted proxies."""

    def __init__(self, app: ASGIApp, proxies: TrustedProxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._proxies.believe(scope)
        await self._app(scope, receive, send)


def _lines(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key == name]


async def _nothing(*_: object) -> None:
    pass
