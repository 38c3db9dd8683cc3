"""Totals that the requests in progress share."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.errors import DeadlineExceeded, Overloaded
from service.work.attended import AttendedRequest


class Budget:
    """A total of bytes or pixels, given to requests in order of arrival. Bound to one event
    loop."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def free(self) -> int:
        """The part of the total that no request holds."""
        return self._free

    @asynccontextmanager
    async def hold(self, cost: int, request: AttendedRequest) -> AsyncIterator[None]:
        """Hold `cost` within the context, and wait for it before. A cost above the total is taken
        for all of it: such a request runs alone.

        Raises:
            Overloaded: the cost did not become free before the request's deadline.
            ClientGone: the client left before.
        """
        cost = min(cost, self._total)
        if self._waiting or cost > self._free:
            await self._wait(cost, request)
        else:
            self._free -= cost
        try:
            yield
        finally:
            self._give_back(cost)

    async def _wait(self, cost: int, request: AttendedRequest) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((cost, turn))
        try:
            await request.wait(turn)
        except BaseException as error:
            if turn.cancelled():
                self._waiting.remove((cost, turn))
                self._admit()
            else:
                self._give_back(cost)
            if isinstance(error, DeadlineExceeded):
                raise Overloaded("too many large requests are in progress; retry later") from None
            raise

    def _give_back(self, cost: int) -> None:
        self._free += cost
        self._admit()

    def _admit(self) -> None:
        """Let the first waiting requests in, as far as they fit."""
        while self._waiting and self._waiting[0][0] <= self._free:
            cost, turn = self._waiting.popleft()
            self._free -= cost
            turn.set_result(None)
