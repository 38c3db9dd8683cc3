"""Where the service is, and what every request to it has in common."""

import ipaddress
import os
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError

from epochd.calls.call import Call
from epochd.errors import ApiError, UnexpectedAnswer, api_error

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8000"
CONNECT_SECONDS = 5.0
RETRY_SECONDS = 30.0
"""Time for which a busy or restarting service is asked again."""


@dataclass
class Connection:
    """The address of a service, and the key for it."""

    url: str
    key: str | None = field(repr=False)
    retry_seconds: float
    was_reached: bool = False
    """Whether the service has answered before."""

    @classmethod
    def of(cls, url: str | None, key: str | None, retry_seconds: float) -> "Connection":
        """Return a connection, by default to the service in EPOCHD_URL with the key in EPOCHD_KEY.

        Raises:
            ValueError: the address or the key cannot be one.
        """
        url = url or os.environ.get("EPOCHD_URL") or DEFAULT_URL
        key = (key or os.environ.get("EPOCHD_KEY") or "").strip() or None
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ValueError(f"url: {url!r} is no address: {error}") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            message = f"must be an address such as {DEFAULT_URL}, not {url!r}"
            raise ValueError(f"url: {message}")
        if key is not None and not (key.isascii() and key.isprintable()):
            raise ValueError("key: has characters that no key has; copy it again")
        return cls(url.rstrip("/"), key, retry_seconds)

    def options(self) -> dict[str, Any]:
        """Return the arguments of httpx's client."""
        headers = {"User-Agent": "epochd-client", "Accept": "application/json, */*"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        return {
            "base_url": self.url,
            "headers": headers,
            # A proxy of the environment cannot reach this machine's own addresses.
            "trust_env": not _is_local(httpx.URL(self.url).host),
        }

    def read(self, call: Call[T], response: httpx.Response) -> T:
        """Return what the service answered.

        Raises:
            ApiError: it refused the request.
            UnexpectedAnswer: the answer is not one of epochd.
        """
        if not response.is_success:
            raise refusal(response)
        try:
            return call.read(response)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "its body"
            message = (
                f"the answer of {self.url} to {call} is not one of epochd ({place}: "
                f"{first['msg']}); another program may listen there, or a later epochd that needs "
                "a later client"
            )
            raise UnexpectedAnswer(message) from error


def refusal(response: httpx.Response) -> ApiError:
    """Return the error of an answer that is none of success, and has been read."""
    if response.is_redirect:
        target = response.headers.get("location", "")
        detail = f"the service has moved to {target}; use that address as `url`"
        return api_error(response.status_code, {"detail": detail})
    try:
        document = response.json()
    except ValueError:
        document = {"detail": response.text[:200].strip()}
    return api_error(response.status_code, document, response.headers.get("retry-after"))


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def request(call: Call[Any], timeout: httpx.Timeout | None = None) -> dict[str, Any]:
    """Return the arguments of httpx's `build_request` for a call."""
    return {
        "method": call.method,
        "url": call.path,
        "params": call.params,
        "headers": call.headers,
        "timeout": timeout or httpx.Timeout(call.seconds, connect=CONNECT_SECONDS),
        **call.body,
    }
