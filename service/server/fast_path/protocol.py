"""A connection, on which small predictions take a short way.

What `service.server.fast_path.express` can answer is answered without a task of ASGI's, and where
its head is known, see `service.server.fast_path.head_cache`, without uvicorn's parser. All else is
left to uvicorn, from its first byte.

This rests on the inside of uvicorn's protocol, of the version that `pyproject.toml` names.
"""

from functools import partial
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.server.fast_path.express import Express, Waiting
from service.server.fast_path.head_cache import framed


class Connection(HttpToolsProtocol):
    """uvicorn's protocol for one, with the short way."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._express: Express = self.config.app.express  # type: ignore[union-attr]
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
        head = None if usual else self._express.head(cycle)
        if head is None:
            begin_task()
            return
        if key and cycle.keep_alive:
            self._express.heads.learn(key, head)
        self._held = Waiting(
            self._express, self, cycle, head, partial(_complete, cycle), begin_task
        )
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
            self._express.count_gone(self._asked)
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
        head = self._express.heads.get(frame.key) if frame else None
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
            self._asked = Waiting(self._express, self, self, head, self._after_answer, pass_on)
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
