"""Small predictions, answered without an ASGI task.

An ASGI task and its messages cost more than the forward pass of a small model. A request for few
predictions of a loaded model therefore joins the model's next batch at once, and is answered when
the batch ends. All other requests, including invalid ones, go through ASGI to
`service.predictions.endpoint`, the only place that reports errors.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ml.inference.model import Predictions
from service.access.authenticator import Authenticator, credentials_of
from service.access.caller import Caller
from service.errors import Unprocessable
from service.http.access_log import CLIENT_GONE, AccessLog
from service.http.security_headers import DATA_LINES
from service.predictions.endpoint import PATH
from service.predictions.model_cache import LoadedModel, ModelCache
from service.predictions.payloads import JSON, LIGHT_ROWS, READERS, media_type
from service.predictions.prediction_quotas import PredictionQuotas
from service.predictions.query import parse_query
from service.predictions.responses import encode_response
from service.server.fast_path.head_cache import Head, HeadCache
from service.settings import Settings

LIGHT = {kind: READERS[kind] for kind in (JSON, "application/x-npy", "application/octet-stream")}
ANSWER = (
    b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\n"
    b"x-request-id: %b\r\n" + DATA_LINES + b"%b\r\n%b"
)


class FastPath:
    """Answers small predictions on all connections of a process."""

    def __init__(
        self,
        model_cache: ModelCache,
        authenticator: Authenticator,
        quotas: PredictionQuotas,
        settings: Settings,
        access_log: AccessLog,
    ) -> None:
        self.head_cache = HeadCache()
        self._model_cache = model_cache
        self._authenticator = authenticator
        self._quotas = quotas if quotas.in_use else None
        self._settings = settings
        self._access_log = access_log
        self._server_headers: tuple[object, bytes] = (None, b"")
        # Compressed bodies, and CORS.
        self._left_to_asgi = {b"content-encoding"} | (
            {b"origin"} if settings.cors_origins else set()
        )
        self._durations: list[float] = []
        """Seconds of the requests answered in this iteration of the event loop."""

    def head(self, cycle: RequestResponseCycle) -> Head | None:
        """Return the head of a request that may be a small prediction, else None."""
        scope: Any = cycle.scope
        if scope["path"] != PATH or scope["method"] != "POST" or cycle.waiting_for_100_continue:
            return None
        if not self._left_to_asgi.isdisjoint(name for name, _ in scope["headers"]):
            return None
        try:
            if parse_query(scope).explain:
                return None
        except Unprocessable:
            return None
        read = LIGHT.get(media_type(scope))
        if read is None:
            return None
        request_id = self._access_log.client_request_id(scope)
        return Head(scope, read, request_id, credentials_of(scope["headers"]))

    def enqueue(self, request: "FastRequest", body: bytes) -> LoadedModel | None:
        """Add a request to the next batch of its model and return the model; return None, and do
        nothing, if the fast path cannot answer it."""
        if len(body) > self._settings.max_body_bytes:
            return None
        caller = self._authenticator.known(request.head.credentials)
        if caller is None or caller.session_id or not caller.may_predict:
            return None
        payload = request.head.read(request.head.scope, body)
        loaded = self._model_cache.get_loaded(payload.model, caller)
        if loaded is None or not payload.is_light:
            return None
        inputs = payload.inputs(loaded.model, self._settings)
        if len(inputs) > LIGHT_ROWS or not loaded.batcher.is_quick(len(inputs)):
            return None
        if len(loaded.model.unknown(inputs)):
            return None
        if self._quotas is not None:
            if not self._quotas.take(caller):
                return None
            request.counted = caller
        loaded.batcher.enqueue(inputs, self._settings.predict_seconds, request)
        return loaded

    def give_back(self, caller: Caller) -> None:
        """Take back the count of a request that ASGI will count."""
        if self._quotas is not None:
            self._quotas.give_back(caller)

    def answer(self, request: "FastRequest", body: bytes) -> None:
        """Write the response to a request."""
        protocol, head = request.protocol, request.head
        server_headers = self._server_header_lines(protocol.server_state.default_headers)
        request_id = head.request_id or self._access_log.new_request_id()
        end = b"" if request.keep_alive else b"connection: close\r\n"
        protocol.transport.write(ANSWER % (server_headers, len(body), request_id, end, body))
        if end:
            protocol.transport.close()
        if not self._durations:
            asyncio.get_running_loop().call_soon(self._record_durations, head.scope)
        self._durations.append(time.perf_counter() - request.began)

    def record_disconnect(self, request: "FastRequest") -> None:
        """Count a request whose client disconnected before the response."""
        seconds = time.perf_counter() - request.began
        self._access_log.meter(request.head.scope, CLIENT_GONE).observe(seconds)

    def _record_durations(self, scope: Scope) -> None:
        durations, self._durations = self._durations, []
        self._access_log.meter(scope, 200).observe_all(durations)

    def _server_header_lines(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Return the lines of the server's default headers, which uvicorn renews every second."""
        if self._server_headers[0] is not headers:
            lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            self._server_headers = headers, lines
        return self._server_headers[1]


class HasKeepAlive(Protocol):
    """An object that knows whether its connection stays open."""

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open."""


class FastRequest:
    """A request that starts an ASGI task only if the fast path cannot answer it."""

    __slots__ = (
        "_answered",
        "_connection",
        "_fast_path",
        "_loaded",
        "_to_asgi",
        "began",
        "counted",
        "head",
        "protocol",
    )

    def __init__(
        self,
        fast_path: FastPath,
        protocol: HttpToolsProtocol,
        connection: HasKeepAlive,
        head: Head,
        answered: Callable[[], None],
        pass_on: Callable[[], None],
    ) -> None:
        """`answered` is called after the response; `pass_on` hands the request to ASGI."""
        self.protocol = protocol
        self.head = head
        self.counted: Caller | None = None
        """The caller, if its quota has counted the request."""
        self.began = time.perf_counter()
        self._fast_path = fast_path
        self._connection = connection
        self._answered = answered
        self._to_asgi = pass_on

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open."""
        return self._connection.keep_alive

    def enqueue(self, body: bytes) -> None:
        """Add the request, whose body is complete, to a batch, or pass it on."""
        try:
            self._loaded = self._fast_path.enqueue(self, body)
        except Exception:  # ASGI raises it again and reports it
            self._loaded = None
        if self._loaded is None:
            self.pass_on()

    def pass_on(self) -> None:
        """Hand the request to ASGI."""
        if self.counted is not None:
            self._fast_path.give_back(self.counted)
        self._to_asgi()

    def done(self) -> bool:
        """Return whether the client has disconnected."""
        return self.protocol.transport.is_closing()

    def set_result(self, predictions: Predictions) -> None:
        """Write the response."""
        assert self._loaded is not None
        try:
            body = encode_response(self._loaded, predictions)
        except Exception:  # as above
            self.pass_on()
        else:
            self._fast_path.answer(self, body)
            self._answered()

    def set_exception(self, _: BaseException) -> None:
        """Pass the request on to ASGI, which reports the error."""
        self.pass_on()
