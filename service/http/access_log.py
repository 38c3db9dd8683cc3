"""What is noted of every request: its id, how it ended, how long it took."""

import logging
import os
import re
import time
from itertools import count

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.logs import REQUEST_ID
from service.metrics import Durations, Metrics

logger = logging.getLogger("epochd.access")

ACCEPTED_ID = re.compile(rb"[\w.:-]{1,64}")
CLIENT_GONE = 499
"""nginx's: the client went away before there was an answer."""
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
QUIET = ("/predict", "/v2/", "/health/", "/metrics")
"""Paths of which only what failed is logged: the rest is counted."""


class AccessLog:
    """ASGI middleware: gives each request an id, the client's own where it sends one as
    `X-Request-ID`, and counts, times and logs it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._requests = metrics.requests
        self._meters: dict[tuple[str, str, int], Durations] = {}
        process = os.urandom(6).hex()
        self._ids = (f"{process}-{number:x}".encode() for number in count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = self.client_request_id(scope) or self.new_request_id()
        REQUEST_ID.set(request_id.decode())
        status = CLIENT_GONE

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - began
            path = scope["path"]
            self.meter(scope, status).observe(seconds)
            if status >= 400 or not path.startswith(QUIET):
                logger.info("%s %s %d %.1f ms", scope["method"], path, status, 1000 * seconds)

    @staticmethod
    def client_request_id(scope: Scope) -> bytes | None:
        """Return the id that a request came with, if it is one."""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and ACCEPTED_ID.fullmatch(value):
                given: bytes = value
                return given
        return None

    def new_request_id(self) -> bytes:
        """Return an id for a request that came with none."""
        return next(self._ids)

    def meter(self, scope: Scope, status: int) -> Durations:
        """Return where requests like this one, answered so, are counted and timed."""
        method = scope["method"] if scope["method"] in METHODS else "other"
        key = method, _route(scope), status
        if key not in self._meters:
            self._meters[key] = self._requests.labels(*key)
        return self._meters[key]


def _route(scope: Scope) -> str:
    """Return the route's path with its parameters unfilled: there are few of these."""
    route = scope.get("route")
    if route is not None:
        return str(route.path)
    return "/predict" if scope["path"] == "/predict" else "unknown"
