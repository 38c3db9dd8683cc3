"""A connection on which small predictions take the fast path.

A prediction that `service.server.fast_path.small_predictions` can answer needs no ASGI task, and
one with a cached head (`service.server.fast_path.head_cache`) needs no parsing. uvicorn handles
everything else from its first byte.

                  cached head, complete             answered
     IDLE, RECEIVING ─────────────────▶ ANSWERING ─────────────▶ IDLE, RECEIVING
        │                                   │ not by the fast path
        │ other head                        ▼
        │                               PASSING_ON
        │                                   │ parsed
        ▼     small prediction              ▼
     PARSING ──────────────▶ HOLDING ─▶ RESPONDING ──────────────▶ IDLE
        └──────────────────────────────────▲       all answered
                      parsed
"""

from functools import partial
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.server.connection import LimitedConnection
from service.server.door import Door
from service.server.fast_path.head_cache import find_frame
from service.server.fast_path.small_predictions import FastPath, FastRequest
from service.server.fast_path.state import State
from service.server.limits import ConnectionLimits, Phase, Progress
from service.server.refusals import Refusal, Refusals

# Bound once: on Python 3.11, looking up an enum member is ten times slower.
IDLE, RECEIVING, ANSWERING, PASSING_ON, PARSING, HOLDING, RESPONDING = State
WITH_UVICORN = (PASSING_ON, PARSING, HOLDING, RESPONDING)


class Connection(LimitedConnection):
    """A connection with a fast path."""

    def __init__(
        self,
        limits: ConnectionLimits,
        refusals: Refusals,
        door: Door,
        fast_path: FastPath,
        **options: Any,
    ) -> None:
        super().__init__(limits, refusals, door, **options)
        self.state = IDLE
        self._fast_path = fast_path
        self._received = bytearray()
        """Bytes not yet passed to the parser."""
        self._request: FastRequest | None = None
        """Request being held or answered."""
        self._key: bytes | None = None
        """Cache key of the head that the parser reads next."""
        self._is_stopping = False

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open after the current request."""
        return not self._is_stopping or bool(self._received)

    def data_received(self, data: bytes) -> None:
        if self.state in WITH_UVICORN:
            super().data_received(data)
            return
        self._received += data
        if self.state is ANSWERING:
            self.flow.pause_reading()
        else:
            self._take()

    def on_message_begin(self) -> None:
        if self.state is not PASSING_ON:
            self.state = PARSING
        super().on_message_begin()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        key, self._key = self._key, None
        begin_task = partial(super()._start_asgi_task, cycle, app)
        # The client is not reading: use an ASGI task, which applies back-pressure.
        is_usual = app is not self.app or self.state is PASSING_ON or self.flow.write_paused
        head = None if is_usual else self._fast_path.head(cycle)
        if head is None:
            begin_task()
            return
        if key and cycle.keep_alive:
            self._fast_path.head_cache.learn(key, head)
        request = FastRequest(
            self._fast_path, self, cycle, head, partial(_complete, cycle), begin_task
        )
        if cycle.more_body:
            self.state, self._request = HOLDING, request
        else:
            request.enqueue(bytes(cycle.body))

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self.state is HOLDING and len(self.cycle.body) > HIGH_WATER_LIMIT:
            # Reading pauses until an ASGI task consumes the body.
            self.state = PARSING
            self._release().pass_on()

    def on_message_complete(self) -> None:
        """Enqueue the held request, whose body is now complete."""
        is_held = self.state is HOLDING
        super().on_message_complete()
        if self.is_in_body:
            return  # only the head is complete, of a request that offers an upgrade
        self.state = IDLE if self._is_all_answered() else RESPONDING
        if is_held:
            self._release().enqueue(bytes(self.cycle.body))

    def on_response_complete(self) -> None:
        """Start the next parsed request, if any."""
        super().on_response_complete()
        if self.state is RESPONDING and self._is_all_answered():
            self.state = IDLE

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the pending request, if any, as a disconnect."""
        if self.state is ANSWERING:
            self.state = IDLE
            self._fast_path.record_disconnect(self._release())
        elif self.state is RECEIVING:
            self._parse()
        super().connection_lost(exc)
        if self.state is HOLDING:
            self.state = PARSING
            self._release().pass_on()

    def shutdown(self) -> None:
        """Close the connection after the responses to all requests on it."""
        self._is_stopping = True
        if self.state is ANSWERING:
            return
        if self.state is RECEIVING:
            self._parse()
        super().shutdown()

    def refuse(self, refusal: Refusal) -> None:
        """Answer the request being read with an error and close the connection."""
        if self.state is RECEIVING:
            self._parse()  # the response depends on its head
        super().refuse(refusal)

    def progress(self) -> Progress:
        """Return the state of the connection, for the limits."""
        if self.state is ANSWERING:
            return Progress(Phase.BUSY, self.request_count, 0, len(self._received))
        if self.state is RECEIVING:
            size = len(self._received)
            return Progress(Phase.BODY, self.request_count, size, size)
        return super().progress()

    def _is_all_answered(self) -> bool:
        # Responses are in order, so the last request's is the last.
        return self.cycle is None or self.cycle.response_complete

    def _take(self) -> None:
        """Process the received bytes, which begin with a request."""
        received = self._received
        frame = find_frame(received)
        head = self._fast_path.head_cache.get(frame.key) if frame else None
        if frame is None or head is None or self.flow.write_paused:
            self._key = frame.key if frame else None
            self._parse()
            self._key = None
        elif len(received) < frame.end:
            self.state = RECEIVING
        else:
            content = bytes(received[: frame.end])
            del received[: frame.end]
            self.state = ANSWERING
            self._request = FastRequest(
                self._fast_path,
                self,
                self,
                head,
                self._after_answer,
                partial(self._pass_on, content),
            )
            self._request.enqueue(content[frame.body :])

    def _parse(self) -> None:
        """Pass all received bytes to uvicorn."""
        if self.state is RECEIVING:
            self.state = IDLE
        received = bytes(self._received)
        self._received.clear()
        super().data_received(received)

    def _release(self) -> FastRequest:
        request, self._request = self._request, None
        assert request is not None
        return request

    def _pass_on(self, content: bytes) -> None:
        """Pass the request that the fast path could not answer to uvicorn."""
        self._request = None
        self.state = PASSING_ON
        super().data_received(content)
        self._go_on()

    def _after_answer(self) -> None:
        self._request = None
        self.state = RECEIVING if self._received else IDLE
        self.server_state.total_requests += 1
        self.request_count += 1
        if not self.transport.is_closing():
            self._go_on()

    def _go_on(self) -> None:
        """Process the bytes received meanwhile."""
        self.flow.resume_reading()
        if self.state is RECEIVING:
            self._take()
        elif self._received:
            # uvicorn answers the request that was passed on first.
            self._parse()
        if self._is_stopping:
            self.shutdown()


def _complete(cycle: RequestResponseCycle) -> None:
    cycle.response_started = cycle.response_complete = True
    cycle.on_response()
    cycle.on_response = _nothing  # breaks a reference cycle, as uvicorn does


def _nothing() -> None:
    pass
