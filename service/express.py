"""Small predictions, answered where they are read.

A task and the messages of ASGI cost more than the forward pass of a small model. So no task is
begun for what asks little of a model at hand: it joins the model's next batch at once, and is
answered as the batch ends. All else, and all that is wrong, goes the usual way, by
`service.predictions`, which says what is wrong with it.

This rests on the inside of uvicorn's protocol, of the version that `pyproject.toml` names.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ml.inference import Answers
from service.access import Access
from service.payloads import JSON, LIGHT_ROWS, READERS, Reader, media_type
from service.predictions import PATH, encoded
from service.predictor import Loaded, Predictor
from service.settings import Settings

LIGHT = {kind: READERS[kind] for kind in (JSON, "application/x-npy", "application/octet-stream")}
ANSWER = (
    b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\n"
    b"x-request-id: %b\r\n%b\r\n%b"
)


class Express:
    """What the connections of a process answer small predictions with."""

    def __init__(self, predictor: Predictor, settings: Settings, access: Access) -> None:
        self._predictor = predictor
        self._settings = settings
        self._access = access
        self._own: tuple[object, bytes] = (None, b"")
        self._took: list[float] = []
        """Seconds of what was answered in this turn of the loop."""

    def enqueue(self, waiting: "Waiting") -> Loaded | None:
        """Have a request that was read answered with the next batch of the model that is returned;
        nothing is done where that cannot be."""
        payload = waiting.read(waiting.scope, bytes(waiting.cycle.body))
        loaded = self._predictor.at_hand(payload.model)
        if loaded is None or not payload.is_light:
            return None
        inputs = payload.inputs(loaded.model, self._settings)
        if len(inputs) > LIGHT_ROWS or not loaded.batcher.is_quick(len(inputs)):
            return None
        loaded.batcher.enqueue(inputs, self._settings.predict_seconds, waiting)
        return loaded

    def answer(self, waiting: "Waiting", loaded: Loaded, answers: Answers) -> None:
        """Write the answer to a request."""
        cycle, body = waiting.cycle, encoded(loaded, answers)
        cycle.response_started = cycle.response_complete = True
        own, request_id = self._own_headers(cycle), self._access.identify(waiting.scope)
        end = b"" if cycle.keep_alive else b"connection: close\r\n"
        cycle.transport.write(ANSWER % (own, len(body), request_id, end, body))
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        if not self._took:
            asyncio.get_running_loop().call_soon(self._count, waiting.scope)
        self._took.append(time.perf_counter() - waiting.began)

    def _count(self, scope: Scope) -> None:
        took, self._took = self._took, []
        self._access.meter(scope, 200).observe_all(took)

    def _own_headers(self, cycle: RequestResponseCycle) -> bytes:
        """Return the lines of the server's own headers, which uvicorn makes anew every second."""
        if self._own[0] is not cycle.default_headers:
            lines = b"".join(b"%b: %b\r\n" % header for header in cycle.default_headers)
            self._own = cycle.default_headers, lines
        return self._own[1]


class Waiting:
    """A request for which no task is begun unless something comes up."""

    __slots__ = ("_express", "_loaded", "began", "begin_task", "cycle", "read", "scope")

    def __init__(
        self,
        express: Express,
        cycle: RequestResponseCycle,
        read: Reader,
        begin_task: Callable[[], None],
    ) -> None:
        self._express = express
        self.cycle = cycle
        self.scope: Any = cycle.scope
        self.read = read
        self.begin_task = begin_task
        self.began = time.perf_counter()

    def enqueue(self) -> None:
        """Have it answered, now that it was read."""
        try:
            self._loaded = self._express.enqueue(self)
        except Exception:  # the usual way comes upon it too, whatever it is
            self._loaded = None
        if self._loaded is None:
            self.begin_task()

    def done(self) -> bool:
        """Return whether the client has gone away."""
        return self.cycle.disconnected or self.cycle.transport.is_closing()

    def set_result(self, answers: Answers) -> None:
        """Answer."""
        assert self._loaded is not None
        self._express.answer(self, self._loaded, answers)

    def set_exception(self, _: BaseException) -> None:
        """Have the usual way come upon what is wrong."""
        self.begin_task()


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, but small predictions are answered without a task."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._express: Express = self.config.app.express  # type: ignore[union-attr]
        self._held: Waiting | None = None
        """Until its body was read."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        begin_task = partial(super()._start_asgi_task, cycle, app)
        reader = _reader(cycle) if app is self.app else None
        if reader is None:
            begin_task()
            return
        self._held = Waiting(self._express, cycle, reader, begin_task)
        if not cycle.more_body:
            self._enqueue()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        super().on_body(body)
        if self._held and len(self._held.cycle.body) > HIGH_WATER_LIMIT:
            # No more is read until a task takes this.
            self._held.begin_task()
            self._held = None

    def on_message_complete(self) -> None:
        """Have the request answered whose body this was the end of."""
        super().on_message_complete()
        if self._held and not self._held.cycle.more_body:
            self._enqueue()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        super().connection_lost(exc)
        if self._held:
            # So that it is counted.
            self._held.begin_task()
            self._held = None

    def _enqueue(self) -> None:
        held, self._held = self._held, None
        assert held is not None
        held.enqueue()


def _reader(cycle: RequestResponseCycle) -> Reader | None:
    """Return what reads the body of a request, where by its head it may be a small prediction."""
    scope: Any = cycle.scope
    if scope["path"] != PATH or scope["method"] != "POST" or cycle.waiting_for_100_continue:
        return None
    return LIGHT.get(media_type(scope))
