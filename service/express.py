"""Small predictions, answered where they are read.

A task and the messages of ASGI cost more than the forward pass of a small model. So no task is
begun for what asks little of a model at hand: it joins the model's next batch at once, and is
answered as the batch ends. Nor is a head parsed again that is known, see `service.heads`. All else,
and all that is wrong, goes the usual way, by `service.predictions`, which says what is wrong with
it.

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
from service.access import CLIENT_GONE, Access
from service.heads import Head, Heads, framed
from service.payloads import JSON, LIGHT_ROWS, READERS, media_type
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
        self.heads = Heads()
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

    def enqueue(self, waiting: "Waiting", body: bytes) -> Loaded | None:
        """Have a request answered with the next batch of the model that is returned; nothing is
        done where that cannot be."""
        if len(body) > self._settings.max_body_bytes:
            return None
        payload = waiting.head.read(waiting.head.scope, body)
        loaded = self._predictor.at_hand(payload.model)
        if loaded is None or not payload.is_light:
            return None
        inputs = payload.inputs(loaded.model, self._settings)
        if len(inputs) > LIGHT_ROWS or not loaded.batcher.is_quick(len(inputs)):
            return None
        loaded.batcher.enqueue(inputs, self._settings.predict_seconds, waiting)
        return loaded

    def answer(self, waiting: "Waiting", body: bytes) -> None:
        """Write the answer to a request."""
        protocol, head = waiting.protocol, waiting.head
        own = self._own_headers(protocol.server_state.default_headers)
        request_id = head.request_id or self._access.new_id()
        end = b"" if waiting.keep_alive else b"connection: close\r\n"
        protocol.transport.write(ANSWER % (own, len(body), request_id, end, body))
        if end:
            protocol.transport.close()
        if not self._took:
            asyncio.get_running_loop().call_soon(self._count, head.scope)
        self._took.append(time.perf_counter() - waiting.began)

    def count_gone(self, waiting: "Waiting") -> None:
        """Count a request whose client did not wait for the answer."""
        seconds = time.perf_counter() - waiting.began
        self._access.meter(waiting.head.scope, CLIENT_GONE).observe(seconds)

    def _count(self, scope: Scope) -> None:
        took, self._took = self._took, []
        self._access.meter(scope, 200).observe_all(took)

    def _own_headers(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Return the lines of the server's own headers, which uvicorn makes anew every second."""
        if self._own[0] is not headers:
            lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            self._own = headers, lines
        return self._own[1]


class Waiting:
    """A request for which no task is begun unless something comes up."""

    __slots__ = ("_answered", "_kept", "_loaded", "began", "head", "pass_on", "protocol")

    def __init__(
        self,
        protocol: "Protocol",
        kept: "RequestResponseCycle | Protocol",
        head: Head,
        answered: Callable[[], None],
        pass_on: Callable[[], None],
    ) -> None:
        """`kept` knows whether the connection is; `answered` is called when the request was,
        `pass_on` to have it go the usual way."""
        self.protocol = protocol
        self.head = head
        self.pass_on = pass_on
        self.began = time.perf_counter()
        self._kept = kept
        self._answered = answered

    @property
    def keep_alive(self) -> bool:
        """Whether more may come on its connection."""
        return self._kept.keep_alive

    def enqueue(self, body: bytes) -> None:
        """Have it answered, now that it was read."""
        try:
            self._loaded = self.protocol.express.enqueue(self, body)
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
            self.protocol.express.answer(self, body)
            self._answered()

    def set_exception(self, _: BaseException) -> None:
        """Have the usual way come upon what is wrong."""
        self.pass_on()


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, but small predictions are answered without a task, and those whose head
    is known without its parser."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.express: Express = self.config.app.express  # type: ignore[union-attr]
        self._is_within = False
        """Whether the parser has read a part of a message."""
        self._key: bytes | None = None
        """Of the head that the parser reads."""
        self._held: Waiting | None = None
        """Of the parser's, until its body was read."""
        self._is_passed_on = False
        """Whether what the parser reads was tried already."""
        self._received = bytearray()
        """The beginning of a request with a known head, or what came after a whole one."""
        self._end = 0
        """How long that request is."""
        self._asked: Waiting | None = None
        """A whole one, until it is answered."""
        self._idle_since = 0.0
        self._is_stopping = False

    @property
    def keep_alive(self) -> bool:
        """Whether more is answered than what was asked with a known head."""
        return not self._is_stopping or bool(self._received)

    def data_received(self, data: bytes) -> None:
        """Take what was received."""
        if self._asked:
            self._received += data
            self.flow.pause_reading()
        elif self._is_parsing():
            super().data_received(data)
        else:
            self._received += data
            if len(self._received) >= self._end:
                self._take()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        key, self._key = self._key, None
        begin_task = partial(super()._start_asgi_task, cycle, app)
        # Who does not read his answers waits for a task, which waits for him.
        usual = app is not self.app or self._is_passed_on or self.flow.write_paused
        head = None if usual else self.express.head(cycle)
        if head is None:
            begin_task()
            return
        if key and cycle.keep_alive:
            self.express.heads.learn(key, head)
        self._held = Waiting(self, cycle, head, partial(_complete, cycle), begin_task)
        if not cycle.more_body:
            self._release().enqueue(bytes(cycle.body))

    def on_message_begin(self) -> None:
        """Begin to parse a message."""
        self._is_within = True
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        super().on_body(body)
        if self._held and len(self.cycle.body) > HIGH_WATER_LIMIT:
            # No more is read until a task takes this.
            self._release().pass_on()

    def on_message_complete(self) -> None:
        """Have the request answered whose body this was the end of."""
        self._is_within = False
        super().on_message_complete()
        if self._held and not self.cycle.more_body:
            self._release().enqueue(bytes(self.cycle.body))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        if self._asked:
            self.express.count_gone(self._asked)
            self._asked = None
        elif self._received:
            self._parse()
        super().connection_lost(exc)
        if self._held:
            # So that it is counted.
            self._release().pass_on()

    def shutdown(self) -> None:
        """Close the connection, after the answers to what was asked on it."""
        self._is_stopping = True
        if self._asked:
            return
        if self._received:
            self._parse()
        super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if nothing came for long."""
        # Set once, not again after each answer.
        is_used = self._asked or self._received
        since = self.loop.time() if is_used else self._idle_since
        left = since + self.timeout_keep_alive - self.loop.time()
        if left <= 0 or self.transport.is_closing():
            super().timeout_keep_alive_handler()
        else:
            self._set_timeout(left)

    def _is_parsing(self) -> bool:
        return self._is_within or bool(self.cycle and not self.cycle.response_complete)

    def _take(self) -> None:
        """Take what begins with a request, where none is under way."""
        received, self._end = self._received, 0
        frame = framed(received)
        head = self.express.heads.get(frame.key) if frame else None
        if frame is None or head is None or self.flow.write_paused:
            self._key = frame.key if frame else None
            self._parse()
            self._key = None
        elif len(received) < frame.end:
            self._end = frame.end
        else:
            request = bytes(received[: frame.end])
            del received[: frame.end]
            pass_on = partial(self._pass_on, request)
            self._asked = Waiting(self, self, head, self._after_answer, pass_on)
            self._asked.enqueue(request[frame.body :])

    def _parse(self) -> None:
        """Have all that was received go the usual way."""
        received = bytes(self._received)
        self._received.clear()
        super().data_received(received)

    def _release(self) -> Waiting:
        held, self._held = self._held, None
        assert held is not None
        return held

    def _pass_on(self, request: bytes) -> None:
        self._asked = None
        self._is_passed_on = True
        super().data_received(request)
        self._is_passed_on = False
        self._go_on()

    def _after_answer(self) -> None:
        self._asked = None
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._idle_since = self.loop.time()
        if not self.timeout_keep_alive_task:
            self._set_timeout(self.timeout_keep_alive)
        self._go_on()

    def _set_timeout(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def _go_on(self) -> None:
        """Take what came meanwhile."""
        self.flow.resume_reading()
        if self._received:
            # What was passed on is answered first.
            self._parse() if self._is_parsing() else self._take()
        if self._is_stopping:
            self.shutdown()


def _complete(cycle: RequestResponseCycle) -> None:
    cycle.response_started = cycle.response_complete = True
    cycle.on_response()
    cycle.on_response = _nothing  # as uvicorn does: it refers to the protocol, which refers to it


def _nothing() -> None:
    pass
