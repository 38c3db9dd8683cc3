"""`X-Forwarded-*` headers of the reverse proxies that the operator trusts."""

from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

FORWARDED_HOST = b"x-forwarded-host"


class TrustedProxies:
    """ASGI middleware that takes the client's address, the scheme and the host from
    `X-Forwarded-For`, `-Proto` and `-Host` if the peer is a trusted proxy."""

    def __init__(self, app: ASGIApp, addresses: Sequence[str]) -> None:
        self._is_trusted = is_trusted_by(addresses)
        self._app = ProxyHeadersMiddleware(app, list(addresses))  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if client and self._is_trusted(client[0]):
            _replace_host(scope)
        await self._app(scope, receive, send)  # type: ignore[arg-type]


def is_trusted_by(addresses: Sequence[str]) -> Callable[[str], bool]:
    """Return the test of an address for being, or being in, one of `addresses`."""
    return ProxyHeadersMiddleware(_nothing, list(addresses)).trusted_hosts.__contains__


async def _nothing(*_: object) -> None:
    pass


def _replace_host(scope: Scope) -> None:
    given = [value for name, value in scope["headers"] if name == FORWARDED_HOST]
    if given:
        # The proxy that is trusted appends to what the client sent.
        host = given[-1].rpartition(b",")[2].strip()
        others = [header for header in scope["headers"] if header[0] != b"host"]
        scope["headers"] = [(b"host", host), *others]
