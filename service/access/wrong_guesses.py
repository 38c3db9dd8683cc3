"""Wrong keys, slowed down by the address that they come from.

A right key is never kept waiting, so that nobody can lock another out. The secrets are too long to
be guessed at any pace; what is saved is the work of this service.
"""

import time
from asyncio import sleep
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.types import Scope

from service.errors import TooManyRequests

FREE = 5
"""Wrong guesses from an address that are answered at once."""
FIRST_SECONDS, MAX_SECONDS = 0.1, 2.0
FORGET_SECONDS = 60.0
"""Time without a wrong guess after which an address begins anew."""
MAX_WAITING = 8
"""Wrong guesses from an address that are kept waiting; others are refused."""
MAX_ADDRESSES = 10_000
IPV6_PREFIX = 64
"""A single customer has so many IPv6 addresses."""

TOO_MANY = TooManyRequests("too many wrong keys come from this address; try again in a minute")


@dataclass
class _Guesser:
    wrong: int = 0
    waiting: int = 0
    last: float = 0.0


class WrongGuesses:
    """Counts wrong guesses in this process."""

    def __init__(self) -> None:
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()

    async def slow_down(self, scope: Scope) -> None:
        """Count a wrong guess, and wait the longer the more there were.

        Raises:
            TooManyRequests: several from this address are waiting already.
        """
        guesser = self._guesser(_source(scope))
        guesser.wrong += 1
        if guesser.wrong <= FREE:
            return
        if guesser.waiting >= MAX_WAITING:
            raise TOO_MANY
        guesser.waiting += 1
        try:
            doublings = min(guesser.wrong - FREE - 1, 10)
            await sleep(min(FIRST_SECONDS * 2.0**doublings, MAX_SECONDS))
        finally:
            guesser.waiting -= 1

    def _guesser(self, source: str) -> _Guesser:
        now = time.monotonic()
        guesser = self._guessers.setdefault(source, _Guesser())
        self._guessers.move_to_end(source)
        if now - guesser.last > FORGET_SECONDS:
            guesser.wrong = 0
        guesser.last = now
        if len(self._guessers) > MAX_ADDRESSES:
            self._guessers.popitem(last=False)
        return guesser


def _source(scope: Scope) -> str:
    client = scope.get("client")
    text = str(client[0]) if client else ""
    try:
        address = ip_address(text)
    except ValueError:
        return text
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:  # as a proxy that listens on both reports a client of IPv4
            return str(address.ipv4_mapped)
        return str(ip_network((address, IPV6_PREFIX), strict=False))
    return text
