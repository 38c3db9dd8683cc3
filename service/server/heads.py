"""Checks of a request's head that the parser does not make: a bounded size, exactly one host, and a
body with an unambiguous end (RFC 9112)."""

from collections.abc import Sequence
from http import HTTPStatus

from service.http.hosts import is_host
from service.server.refusals import Refusal

MAX_HEAD_BYTES = 16 * 1024
MAX_FIELDS = 100
VERSIONS = ("1.0", "1.1")

HEAD_TOO_LARGE = Refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"the head of the request exceeds {MAX_HEAD_BYTES:,} bytes or {MAX_FIELDS} fields",
)
UNKNOWN_VERSION = Refusal(
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "the version of HTTP must be 1.1 or 1.0"
)
NOT_IMPLEMENTED = Refusal(
    HTTPStatus.NOT_IMPLEMENTED, "the method CONNECT and transfer codings but chunked are unknown"
)
NO_HOST = Refusal(
    HTTPStatus.BAD_REQUEST, "the header Host is missing; HTTP/1.1 demands it (RFC 9112)"
)
SEVERAL_HOSTS = Refusal(HTTPStatus.BAD_REQUEST, "the header Host is given several times")
BAD_HOST = Refusal(
    HTTPStatus.BAD_REQUEST,
    "the header Host is not a name or an address, with or without a port",
)
CODING_IN_OLD_VERSION = Refusal(
    HTTPStatus.BAD_REQUEST,
    "HTTP/1.0 has no Transfer-Encoding; send a Content-Length, or HTTP/1.1",
)
NOT_CHUNKED = Refusal(
    HTTPStatus.BAD_REQUEST,
    "the Transfer-Encoding must end with chunked, given once: else the body has no certain end",
)


def fault_of(
    version: str, method: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]]
) -> Refusal | None:
    """Return the reason to refuse a request, if its head gives one."""
    size, hosts, codings = len(url), list[bytes](), list[bytes]()
    for name, value in headers:
        size += len(name) + len(value) + 4
        if name == b"host":
            hosts.append(value)
        elif name == b"transfer-encoding":
            codings.append(value)
    if size > MAX_HEAD_BYTES or len(headers) > MAX_FIELDS:
        return HEAD_TOO_LARGE
    if version not in VERSIONS:
        return UNKNOWN_VERSION
    if method == b"CONNECT":
        return NOT_IMPLEMENTED
    if codings:
        return _fault_of_codings(version, b",".join(codings)) or _fault_of_hosts(version, hosts)
    return _fault_of_hosts(version, hosts)


def _fault_of_hosts(version: str, hosts: Sequence[bytes]) -> Refusal | None:
    if not hosts:
        return NO_HOST if version != "1.0" else None
    if len(hosts) > 1:
        return SEVERAL_HOSTS
    return None if is_host(hosts[0]) else BAD_HOST


def _fault_of_codings(version: str, codings: bytes) -> Refusal | None:
    if version == "1.0":
        return CODING_IN_OLD_VERSION
    *others, last = (coding.strip(b" \t").lower() for coding in codings.split(b","))
    if last != b"chunked" or b"chunked" in others:
        return NOT_CHUNKED
    return NOT_IMPLEMENTED if others else None
