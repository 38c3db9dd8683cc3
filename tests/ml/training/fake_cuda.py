"""Fake of the parts of `torch.cuda` for devices, streams and captures. It records their use and
rejects operations that a real device rejects."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from ml import devices


class Stream:
    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.waited_for: list[Any] = []

    def wait_stream(self, other: "Stream") -> None:
        self.waited_for.append(other)

    def wait_event(self, event: "Event") -> None:
        self.waited_for.append(event)


class Event:
    def __init__(self) -> None:
        self.stream: Stream | None = None

    def record(self, stream: Stream) -> None:
        self.stream = stream

    def synchronize(self) -> None:
        pass


class FakeCuda:
    """Two devices; the first is current."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.first, self.second = (torch.device("cuda", index) for index in range(2))
        self.device = self.first
        self.defaults = {device: Stream(device) for device in (self.first, self.second)}
        self.streams = dict(self.defaults)
        self.account: list[str] = []
        self.pools = 0
        account = self

        class Graph:
            def capture_begin(self, pool: Any) -> None:
                account.note("begin")
                if account.current_stream() is account.defaults[account.device]:
                    raise RuntimeError("a capture must not begin on the default stream")
                self.pool = pool

            def capture_end(self) -> None:
                account.note("end")

            def replay(self) -> None:
                account.note("replay")

        for name, stand_in in {
            "CUDAGraph": Graph,
            "Stream": Stream,
            "Event": Event,
            "current_stream": self.current_stream,
            "stream": self.stream,
            "set_stream": self.set_stream,
            "device": self.on,
            "synchronize": lambda device=None: self.note("synchronize"),
            "graph_pool_handle": self.pool,
        }.items():
            monkeypatch.setattr(torch.cuda, name, stand_in)
        devices.side_stream.cache_clear()

    def note(self, what: str) -> None:
        self.account.append(f"{what} on {self.current_stream().device}")

    def pool(self) -> int:
        self.pools += 1
        return self.pools

    def current_stream(self, device: torch.device | None = None) -> Stream:
        return self.streams[device or self.device]

    def set_stream(self, stream: Stream) -> None:
        self.device = stream.device
        self.streams[stream.device] = stream

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        device, before = self.device, self.streams[stream.device]
        self.set_stream(stream)
        try:
            yield
        finally:
            self.streams[stream.device], self.device = before, device

    @contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        before, self.device = self.device, device
        try:
            yield
        finally:
            self.device = before
