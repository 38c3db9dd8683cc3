"""Request ids, metrics and the access log."""

import logging
import os
import re
import time
from itertools import count

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.startup_errors import in_one_line
from service.logs import REQUEST_ID
from service.metrics import Durations, Metrics

logger = logging.getLogger("epochd.access")

ACCEPTED_ID = re.compile(rb"[\w.:-]{1,64}")
CLIENT_GONE = 499
"""nginx's status for a client that disconnected before the response."""
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
QUIET = ("/predict", "/v2/", "/health/", "/metrics")
"""Path prefixes whose successful requests are counted but not logged."""


class AccessLog:
    """ASGI middleware that counts, times and logs requests and gives each an id: the client's
    `X-Request-ID`, or a new one."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._requests = metrics.requests
        self._meters: dict[tuple[str, str, int], Durations] = {}
        process = os.urandom(6).hex()
        self._ids = (f"{process}-{number:x}".encode() for number in count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, in_one_line(send))
            return
        began = time.perf_counter()
        request_id = self._request_id(scope)
        REQUEST_ID.set(request_id.decode())
        status = CLIENT_GONE
        is_complete = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, is_complete
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            else:
                is_complete = not message.get("more_body")
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            # Starlette raises an error again that it has logged and answered. For the server, the
            # request has succeeded: the connection stays open.
            if not is_complete:
                raise
        finally:
            seconds = time.perf_counter() - began
            path = scope["path"]
            self.meter(scope, status).observe(seconds)
            if status >= 400 or not path.startswith(QUIET):
                milliseconds = 1000 * seconds
                line = "%s %s %s %d %.1f ms"
                logger.info(line, _address(scope), scope["method"], path, status, milliseconds)

    def record_refusal(self, scope: Scope, status: int, reason: str) -> bytes:
        """Count and log a request that the connection itself refused, and return its id."""
        request_id = self._request_id(scope)
        self.meter(scope, status).observe(0.0)
        token = REQUEST_ID.set(request_id.decode())
        line = "%s %s %s %d: %s"
        logger.info(line, _address(scope), scope["method"], scope["path"], status, reason)
        REQUEST_ID.reset(token)
        return request_id

    def _request_id(self, scope: Scope) -> bytes:
        return self.client_request_id(scope) or self.new_request_id()

    @staticmethod
    def client_request_id(scope: Scope) -> bytes | None:
        """Return the `X-Request-ID` of a request, or None if it is missing or malformed."""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and ACCEPTED_ID.fullmatch(value):
                given: bytes = value
                return given
        return None

    def new_request_id(self) -> bytes:
        return next(self._ids)

    def meter(self, scope: Scope, status: int) -> Durations:
        """Return the counter and timer for this method, route and status."""
        method = scope["method"] if scope["method"] in METHODS else "other"
        key = method, _route(scope), status
        if key not in self._meters:
            self._meters[key] = self._requests.labels(*key)
        return self._meters[key]


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "-"


def _route(scope: Scope) -> str:
    """Return the route's path template, which keeps the number of metric labels small."""
    route = scope.get("route")
    if route is not None:
        return str(route.path)
    return "/predict" if scope["path"] == "/predict" else "unknown"
