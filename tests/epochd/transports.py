"""Clients of both kinds over a function that answers requests, and a clock without waiting."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

from epochd import AsyncClient, Client

Handler = Callable[[httpx.Request], httpx.Response]
URL = "http://epochd.test"
KINDS = ("blocking", "asynchronous")


class Service:
    """A service that answers with a function, and remembers the requests."""

    def __init__(self, handler: Handler) -> None:
        self.requests: list[httpx.Request] = []
        self._handler = handler

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._handle)

    def client(self, **options: Any) -> Client:
        return Client(URL, transport=self.transport(), **options)

    def run(self, kind: str, use: Callable[[Any], Any], **options: Any) -> Any:
        """Return what `use` does with a client of a kind; what it returns is awaited, and an
        iterator of the asynchronous client read, as far as needed."""
        if kind == "blocking":
            with self.client(**options) as client:
                found = use(client)
                return list(found) if isinstance(found, Iterator) else found

        async def go() -> Any:
            async with AsyncClient(URL, transport=self.transport(), **options) as client:
                found = use(client)
                found = await found if isinstance(found, Awaitable) else found
                return [item async for item in found] if isinstance(found, AsyncIterator) else found

        return asyncio.run(go())

    def _handle(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        return self._handler(request)


def answers(*those: httpx.Response | Exception) -> Service:
    """Return a service that gives these answers, one after another, and the last one for ever
    unless it is a stream."""
    waiting = list(those)

    def handle(request: httpx.Request) -> httpx.Response:
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        if not answer.is_stream_consumed:
            return answer
        # httpx has bound it to the client that read it.
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    return Service(handle)


def problem(status: int, detail: str = "no", **more: Any) -> httpx.Response:
    """Return a problem document; `headers` are those of the answer."""
    headers = more.pop("headers", {}) | {"content-type": "application/problem+json"}
    document = {"type": "urn:epochd:x", "title": "Title", "status": status, "detail": detail}
    return httpx.Response(status, json=document | more, headers=headers)


class Clock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("epochd.client.time.sleep", self.sleep)
        monkeypatch.setattr("epochd.aio.asyncio.sleep", self.sleep_async)
        for module in ("retries", "events"):
            monkeypatch.setattr(f"epochd.{module}.monotonic", self)
