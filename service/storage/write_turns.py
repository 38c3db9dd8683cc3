"""Turns of the requests that write."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.errors import Overloaded
from service.storage.database import PATIENCE_SECONDS, writing_within

TURNS = 8
"""Requests that may occupy a thread to write; a web process has 40 threads."""


class WriteTurns:
    """The gate of the requests that write. They wait on the event loop, not in threads, so that
    they never keep requests waiting that only read."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(TURNS)

    @asynccontextmanager
    async def turn(self, patience: float | None = None) -> AsyncIterator[None]:
        """Within the block, transactions write that get their turn within `patience` seconds from
        now, by default `PATIENCE_SECONDS`.

        Raises:
            Overloaded: too many other requests are waiting to write.
        """
        patience = PATIENCE_SECONDS if patience is None else patience
        with writing_within(patience):
            try:
                await asyncio.wait_for(self._turns.acquire(), patience)
            except TimeoutError:
                raise Overloaded("the database is busy: other requests wait to write") from None
            try:
                yield
            finally:
                self._turns.release()
