"""Limits of connections, over time and in number."""

import resource
from typing import Any

import pytest

from service.http.body_budget import BodyBudget
from service.server.limits import (
    CROWDED_SECONDS,
    NO_MEMORY,
    OTHER_FILES,
    SLOW_BODY,
    TOO_MANY,
    TOO_MANY_OF_ONE,
    ConnectionLimits,
    Phase,
    Progress,
    Watch,
    raise_open_files,
)
from service.server.refusals import Refusal
from service.settings import Settings


class Fake:
    """A connection in a phase."""

    def __init__(self, phase: Phase, buffered: int = 0) -> None:
        self.watch = Watch()
        self.now = Progress(phase, 1, 0, buffered)
        self.refusal: Refusal | None = None
        self.is_closed = False

    def progress(self) -> Progress:
        return self.now

    def refuse(self, refusal: Refusal) -> None:
        self.refusal = refusal

    def shutdown(self) -> None:
        self.is_closed = True


def limits(budget: BodyBudget | None = None, **changes: Any) -> ConnectionLimits:
    return ConnectionLimits(Settings().model_copy(update=changes), budget or BodyBudget(1000))


def test_connections_per_address_are_limited() -> None:
    counted = limits(
        max_connections=6, max_connections_per_address=2, trusted_proxies=("10.0.0.0/24",)
    )
    assert [counted.opened("1.1.1.1") for _ in range(3)] == [None, None, TOO_MANY_OF_ONE]
    counted.closed("1.1.1.1")
    counted.closed("1.1.1.1")
    assert counted.opened("1.1.1.1") is None
    assert [counted.opened("10.0.0.9") for _ in range(4)] == [None] * 4
    assert counted.opened("2.2.2.2") is TOO_MANY
    for address in ("2.2.2.2", "10.0.0.9"):
        counted.closed(address)
    assert counted.opened("2.2.2.2") is None


def test_unix_socket_has_no_limit_per_address() -> None:
    counted = limits(max_connections_per_address=1)
    assert [counted.opened("") for _ in range(3)] == [None] * 3


def test_idle_connections_are_closed_early_when_crowded() -> None:
    counted, idle = limits(max_connections=4), Fake(Phase.IDLE)
    for _ in range(3):
        counted.opened("a")
    for passed in (0.0, CROWDED_SECONDS):
        counted.check([idle], passed)
    assert not idle.is_closed
    counted.opened("a")
    counted.check([idle], 0.0)
    assert idle.is_closed


def test_rate_of_body_is_checked_in_each_period() -> None:
    counted, slow = limits(), Fake(Phase.BODY)
    counted.check([slow], 0.0)
    for period in (1, 2, 3):  # the bytes of one period do not count for the next
        slow.now = slow.now._replace(received=period * 10_240)
        counted.check([slow], 10.0)
        assert slow.refusal is None
    counted.check([slow], 10.0)
    assert slow.refusal is SLOW_BODY


@pytest.mark.parametrize("phase", Phase)
def test_new_request_restarts_the_time(phase: Phase) -> None:
    counted, busy = limits(), Fake(phase)
    for number in range(100):
        busy.now = busy.now._replace(requests=number)
        counted.check([busy], 60.0)
    assert (busy.refusal, busy.is_closed) == (None, False)


def test_buffers_count_towards_the_budget() -> None:
    budget = BodyBudget(1000)
    connections = [Fake(Phase.BODY, 400), Fake(Phase.BUSY, 100)]
    connections += [Fake(Phase.BODY, 400), Fake(Phase.BODY, 400), Fake(Phase.BODY, 50)]
    limits(budget).check(connections, 1.0)
    assert [c.refusal for c in connections] == [None, None, None, NO_MEMORY, None]
    assert budget.buffered == 950


def test_open_files_are_raised_to_the_hard_limit(caplog: pytest.LogCaptureFixture) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        most = raise_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == most >= min(soft, 1024)
        fit = most - OTHER_FILES
        limits(max_connections=fit)
        assert not caplog.messages
        limits(max_connections=fit + 1)
        assert caplog.messages[0].startswith(f"at most {fit} connections instead of")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
