"""Wrong keys are counted by where they come from."""

import asyncio

import pytest

from service.access.wrong_guesses import FREE, WrongGuesses


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
    ],
)
def test_sources(first: str, second: str, is_same: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def guess() -> None:
        guesses = WrongGuesses()
        for _ in range(FREE):
            await guesses.slow_down({"client": (first, 1)})
        await guesses.slow_down({"client": (second, 1)})

    monkeypatch.setattr("service.access.wrong_guesses.sleep", sleep)
    asyncio.run(guess())
    assert bool(waits) is is_same
