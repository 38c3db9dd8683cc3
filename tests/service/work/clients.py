"""Clients that wait for an answer, or leave."""

import asyncio

from starlette.types import Message


class Client:
    """A client that stays until it leaves."""

    def __init__(self) -> None:
        self._left = asyncio.Event()

    async def receive(self) -> Message:
        await self._left.wait()
        return {"type": "http.disconnect"}

    def leave(self) -> None:
        self._left.set()
