"""Error responses of a connection itself. They look like all others: a problem document with a
request id, and headers for the page that may read it."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.access.audit_trail import AuditTrail
from service.http.access_log import AccessLog
from service.http.cors import CrossOrigin
from service.http.problem_json import in_form_of, respond
from service.http.proxies import TrustedProxies
from service.http.security_headers import DATA_LINES
from service.settings import Settings

RETRY = {"Retry-After": "1"}
OF_THE_DOOR = (HTTPStatus.FORBIDDEN, HTTPStatus.MISDIRECTED_REQUEST)
"""Refusals for who sends a request, which the audit log tells of."""


class Refusal(NamedTuple):
    """An error response of the connection itself, after which it closes."""

    status: HTTPStatus
    detail: str


class Refusals:
    """Logs the refusals of all connections of a process, and writes their responses."""

    def __init__(self, access_log: AccessLog, trail: AuditTrail, settings: Settings) -> None:
        self._access_log = access_log
        self._trail = trail
        self._proxies = TrustedProxies(settings.trusted_proxies)
        origins = settings.cors_origins
        self._cross_origin = CrossOrigin(_nothing, origins) if origins else None

    def response(
        self, refusal: Refusal, asked: Scope, server_headers: Sequence[tuple[bytes, bytes]]
    ) -> bytes:
        """Log and count a refusal, and return the response. `asked` is what is known of the
        request: its headers so far, and perhaps its method and path."""
        status, detail = refusal
        self._proxies.believe(asked)
        request_id = self._access_log.record_refusal(asked, status, detail)
        if status in OF_THE_DOOR:
            self._trail.record_refusal(asked, status, request_id.decode())
        headers = RETRY if status is HTTPStatus.SERVICE_UNAVAILABLE else None
        response = in_form_of(asked["path"], respond(status, detail, headers=headers))
        lines = [*server_headers, *response.raw_headers, (b"x-request-id", request_id)]
        if self._cross_origin:
            origins = [value for name, value in asked["headers"] if name == b"origin"]
            origin = origins[0].decode("latin-1") if origins else None
            lines += self._cross_origin.headers_for(origin)
        head = b"".join(b"%b: %b\r\n" % line for line in lines)
        body = b"" if asked["method"] == "HEAD" else bytes(response.body)
        return b"%b%b%bconnection: close\r\n\r\n%b" % (STATUS_LINE[status], head, DATA_LINES, body)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    pass
