"""A connection of uvicorn's, within limits, on which offers to upgrade are ignored."""

import asyncio
import logging
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.server.door import Door
from service.server.heads import HEAD_TOO_LARGE, MAX_HEAD_BYTES, fault_of
from service.server.limits import (
    TOO_MANY,
    TOO_MANY_OF_ONE,
    ConnectionLimits,
    Phase,
    Progress,
    Watch,
)
from service.server.refusals import Refusal, Refusals

logger = logging.getLogger(__name__)

# Bound once: on Python 3.11, looking up an enum member is ten times slower.
IDLE, HEAD, BODY, BUSY = Phase
LINGER_SECONDS = 2.0
"""Time a client has to read an error response before the connection is closed."""
UNKNOWN = "-"
"""Stands for the method or the path of a request that was refused before they were read."""


class LimitedConnection(HttpToolsProtocol):
    """A uvicorn connection with limits.

    uvicorn cannot read the body of a request that offers an upgrade, such as the one to HTTP/2 that
    Java's client adds to every request: its parser stops after the head. Such a head is passed on,
    as RFC 9110 allows, as if the offer were missing, and then to a new parser without the offer.
    """

    def __init__(
        self,
        limits: ConnectionLimits,
        refusals: Refusals,
        door: Door,
        *arguments: Any,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.watch = Watch()
        self._limits = limits
        self._refusals = refusals
        self._door = door
        self.request_count = 0
        self._reading = IDLE
        """Part of a request that the parser is in."""
        self._body_bytes = 0
        """Bytes of bodies that the parser has read."""
        self._silent_bytes = 0
        """Bytes since the parser last completed a head or read a part of a body."""
        self._refusal: Refusal | None = None
        self._response = b""
        """Response of the refusal."""

    @property
    def is_in_body(self) -> bool:
        """Whether the parser is in the body of a request."""
        return self._reading is BODY

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        refusal = self._limits.opened(self._address)
        if refusal is not None:
            self.refuse(refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._limits.closed(self._address)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._silent_bytes += len(data)
        left = memoryview(data)
        try:
            while left:
                try:
                    self.parser.feed_data(left)
                    break
                except httptools.HttpParserUpgrade as upgrade:
                    left = left[upgrade.args[0] :]
                    self._ignore_upgrade()
        except httptools.HttpParserError as error:
            self.refuse(_reason(error))
        if self._silent_bytes > MAX_HEAD_BYTES:
            self.refuse(HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        self._reading = HEAD
        self.request_count += 1
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading is HEAD:  # else it is a trailer
            super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        version, method = self.parser.get_http_version(), self.parser.get_method()
        if fault := (
            fault_of(version, method, self.url, self.headers)
            or self._door.fault_of(method, self.headers)
        ):
            raise _Refused(fault)
        self._reading = BODY
        self._silent_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._silent_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # only the head is complete
        self._reading = IDLE
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._refusal is not None and not self.pipeline and not self.transport.is_closing():
            self._say_and_close()
            return
        super().on_response_complete()
        # `limits` closes idle connections.
        self._unset_keepalive_if_required()

    def progress(self) -> Progress:
        """Return the state of the connection, for the limits."""
        cycle = self.cycle
        is_answered = cycle is None or cycle.response_complete
        buffered = 0 if is_answered else len(cycle.body)
        if self.flow.read_paused or self._refusal is not None:
            phase = BUSY
        elif self._reading is IDLE:
            phase = IDLE if is_answered else BUSY
        elif self._reading is BODY and cycle.waiting_for_100_continue:
            phase = BUSY
        else:
            phase = self._reading
        return Progress(phase, self.request_count, self._body_bytes, buffered)

    def refuse(self, refusal: Refusal) -> None:
        """Answer the request being read with an error, after the responses to those before it, and
        close the connection."""
        if self._refusal is not None or self.transport.is_closing():
            return
        self._refusal = refusal
        self._response = self._refusals.response(
            refusal, self._asked(), self.server_state.default_headers
        )
        cycle, is_in_body = self.cycle, self._reading is BODY
        if is_in_body and self.pipeline:
            self.pipeline.popleft()  # `on_response_complete` goes on
        elif is_in_body:
            is_begun = cycle.response_started
            cycle.disconnected = True
            cycle.message_event.set()
            if is_begun:
                self.transport.close()
            else:
                self._say_and_close()
        elif cycle is None or cycle.response_complete:
            self._say_and_close()

    def _say_and_close(self) -> None:
        transport = self.transport
        transport.write(self._response)
        if self._refusal in (TOO_MANY, TOO_MANY_OF_ONE):
            transport.close()
            return
        # Closed at once, with bytes unread, it would be reset before the client reads the response.
        self.flow.resume_reading()
        transport.write_eof()
        self.connections.discard(self)
        transport.set_protocol(_Lingering(self))

    def _asked(self) -> Scope:
        """Return what is known of the request being read."""
        asked: Scope = {"client": self.client, "headers": [], "method": UNKNOWN, "path": UNKNOWN}
        if self._reading is IDLE:
            return asked
        asked["headers"] = list(self.headers)
        if self.url:
            asked["method"] = self.parser.get_method().decode()
            with suppress(httptools.HttpParserInvalidURLError, UnicodeDecodeError):
                asked["path"] = unquote((httptools.parse_url(self.url).path or b"-").decode())
        return asked

    def _ignore_upgrade(self) -> None:
        """Replace the parser, which is after the head of an upgrade, by one in the same place of
        the request without it."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        fields = [b"%b: %b\r\n" % h for h in self.headers if h[0] != b"upgrade"]
        head = b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, b"".join(fields))
        callbacks = _AfterHead(self)
        self.parser = httptools.HttpRequestParser(callbacks)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(head)
        callbacks.is_in_head = False


class _AfterHead:
    """Callbacks of a parser whose first head is known already."""

    def __init__(self, connection: LimitedConnection) -> None:
        self.is_in_head = True
        self._connection = connection
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete

    def on_message_begin(self) -> None:
        if not self.is_in_head:
            self._connection.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self.is_in_head:
            self._connection.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.is_in_head:
            self._connection.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self.is_in_head:
            self._connection.on_headers_complete()


class _Lingering(asyncio.Protocol):
    """A connection that has its last response, until the client closes it or its time is up."""

    def __init__(self, connection: LimitedConnection) -> None:
        self._connection = connection
        transport = connection.transport
        self._timer = connection.loop.call_later(LINGER_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._connection.connection_lost(exc)


class _Refused(Exception):
    """Ends the parser."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


def _reason(error: httptools.HttpParserError) -> Refusal:
    """Return the refusal of a request that the parser could not read."""
    cause = error.__context__
    if isinstance(cause, _Refused):
        return cause.refusal
    if isinstance(cause, httptools.HttpParserInvalidURLError | UnicodeDecodeError | AttributeError):
        return Refusal(HTTPStatus.BAD_REQUEST, "the target of the request is malformed")
    if cause is not None:
        logger.error("a request could not be parsed", exc_info=cause)
    return Refusal(HTTPStatus.BAD_REQUEST, f"the request is malformed: {error}")


def bound(kind: type[LimitedConnection], *arguments: Any) -> type[LimitedConnection]:
    """Return a connection class with its first arguments, since uvicorn creates connections."""

    class Bound(kind):  # type: ignore[misc, valid-type]
        def __init__(self, **options: Any) -> None:
            super().__init__(*arguments, **options)

    return Bound
