"""Pages of other origins that may call the API."""

from collections.abc import Collection

from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp


class CrossOrigin(CORSMiddleware):
    """ASGI middleware that lets pages of some origins call the API; `*` stands for all."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["*"],
        )

    def headers_for(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        """Return the headers that a response to a request from `origin` gets, for responses that
        are not the application's."""
        headers = MutableHeaders()
        if origin is not None:
            headers.update(self.simple_headers)
        if origin is not None and not self.allow_all_origins and self.is_allowed_origin(origin):
            self.allow_explicit_origin(headers, origin)
        else:
            headers["Vary"] = "Origin"
        return headers.raw
