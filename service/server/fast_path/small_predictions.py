"""Small predictions, answered where they are read.

A task and the messages of ASGI cost more than the forward pass of a small model. So a request for
few predictions of a loaded model begins no task: it joins the model's next batch at once, and is
answered as the batch ends. Every other request, and every one with a fault, takes the usual way to
`service.predictions.endpoint`, the one place that says what is wrong.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ml.inference.model import Answers
from service.http.access_log import CLIENT_GONE, Access
from service.predictions.endpoint import PATH, encoded
from service.predictions.model_cache import Loaded, Predictor
from service.predictions.payloads import JSON, LIGHT_ROWS, READERS, media_type
from service.server.fast_path.head_cache import Head, HeadCache
from service.settings import Settings

LIGHT = {kind: READERS[kind] for kind in (JSON, "application/x-npy", "application/octet-stream")}
ANSWER = (
    b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\n"
    b"x-request-id: %b\r\n%b\r\n%b"
)


class FastPath:
    """Answers small predictions, for all connections of a process."""

    def __init__(self, predictor: Predictor, settings: Settings, access: Access) -> None:
        self.heads = HeadCache()
        self._predictor = predictor
        self._settings = settings
        self._access = access
        self._own: tuple[object, bytes] = (None, b"")
        self._took: list[float] = []
        """Seconds of what was answered in this turn of the loop."""

    def head(self, cycle: RequestResponseCycle) -> Head | None:
        """Return what the head of a request says that may be a small prediction."""
        scope: Any = cycle.scope
        if scope["path"] != PATH or scope["method"] != "POST" or cycle.waiting_for_100_continue:
            return None
        read = LIGHT.get(media_type(scope))
        return Head(scope, read, self._access.given_id(scope)) if read else None

    def enqueue(self, request: "FastRequest", body: bytes) -> Loaded | None:
        """Have a request answered with the next batch of the model that is returned; nothing is
        done where that cannot be."""
        if len(body) > self._settings.max_body_bytes:
            return None
        payload = request.head.read(request.head.scope, body)
        loaded = self._predictor.at_hand(payload.model)
        if loaded is None or not payload.is_light:
            return None
        inputs = payload.inputs(loaded.model, self._settings)
        if len(inputs) > LIGHT_ROWS or not loaded.batcher.is_quick(len(inputs)):
            return None
        loaded.batcher.enqueue(inputs, self._settings.predict_seconds, request)
        return loaded

    def answer(self, request: "FastRequest", body: bytes) -> None:
        """Write the answer to a request."""
        protocol, head = request.protocol, request.head
        own = self._own_headers(protocol.server_state.default_headers)
        request_id = head.request_id or self._access.new_id()
        end = b"" if request.keep_alive else b"connection: close\r\n"
        protocol.transport.write(ANSWER % (own, len(body), request_id, end, body))
        if end:
            protocol.transport.close()
        if not self._took:
            asyncio.get_running_loop().call_soon(self._count, head.scope)
        self._took.append(time.perf_counter() - request.began)

    def count_gone(self, request: "FastRequest") -> None:
        """Count a request whose client did not wait for the answer."""
        seconds = time.perf_counter() - request.began
        self._access.meter(request.head.scope, CLIENT_GONE).observe(seconds)

    def _count(self, scope: Scope) -> None:
        took, self._took = self._took, []
        self._access.meter(scope, 200).observe_all(took)

    def _own_headers(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Return the lines of the server's own headers, which uvicorn makes anew every second."""
        if self._own[0] is not headers:
            lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            self._own = headers, lines
        return self._own[1]


class Kept(Protocol):
    """What knows whether a connection is kept."""

    @property
    def keep_alive(self) -> bool:
        """Whether more may come on it."""


class FastRequest:
    """A request for which no task is begun unless something comes up."""

    __slots__ = (
        "_answered",
        "_fast_path",
        "_kept",
        "_loaded",
        "began",
        "head",
        "pass_on",
        "protocol",
    )

    def __init__(
        self,
        fast_path: FastPath,
        protocol: HttpToolsProtocol,
        kept: Kept,
        head: Head,
        answered: Callable[[], None],
        pass_on: Callable[[], None],
    ) -> None:
        """`answered` is called when the request was, `pass_on` to have it go the usual way."""
        self.protocol = protocol
        self.head = head
        self.pass_on = pass_on
        self.began = time.perf_counter()
        self._fast_path = fast_path
        self._kept = kept
        self._answered = answered

    @property
    def keep_alive(self) -> bool:
        """Whether more may come on its connection."""
        return self._kept.keep_alive

    def enqueue(self, body: bytes) -> None:
        """Have it answered, now that it was read."""
        try:
            self._loaded = self._fast_path.enqueue(self, body)
        except Exception:  # the usual way comes upon it too, whatever it is
            self._loaded = None
        if self._loaded is None:
            self.pass_on()

    def done(self) -> bool:
        """Return whether the client has gone away."""
        return self.protocol.transport.is_closing()

    def set_result(self, answers: Answers) -> None:
        """Answer."""
        assert self._loaded is not None
        try:
            body = encoded(self._loaded, answers)
        except Exception:  # as above
            self.pass_on()
        else:
            self._fast_path.answer(self, body)
            self._answered()

    def set_exception(self, _: BaseException) -> None:
        """Have the usual way come upon what is wrong."""
        self.pass_on()
