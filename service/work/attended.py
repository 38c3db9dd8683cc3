"""Work for a client that may leave and does not wait forever."""

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from starlette.types import Receive

from service.errors import ClientGone, DeadlineExceeded

Result = TypeVar("Result")
Check = Callable[[], None]
"""Function that raises an error if the work should stop; long work calls it between items."""


def unchecked() -> None:
    """Never stop the work."""


class AttendedRequest:
    """A request whose body was read, with its deadline. Bound to one event loop."""

    def __init__(self, receive: Receive, seconds: float) -> None:
        self._receive = receive
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._is_gone = False

    def check(self) -> None:
        """Check, from any thread, that the result is still wanted.

        Raises:
            ClientGone: the client disconnected.
            DeadlineExceeded: the deadline passed.
        """
        if self._is_gone:
            raise ClientGone
        if time.monotonic() > self._deadline:
            raise DeadlineExceeded(f"the request took longer than {self._seconds:g} seconds")

    async def wait(self, future: "asyncio.Future[Result]") -> Result:
        """Return the result of `future`. It is cancelled if the client leaves or the deadline
        passes; the errors are those of `check`."""
        gone = asyncio.ensure_future(self._receive())
        either: set[asyncio.Future[Any]] = {future, gone}
        try:
            left = self._deadline - time.monotonic()
            await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not future.done():
                self._is_gone = gone.done()
                self.check()
                raise DeadlineExceeded(f"the request took longer than {self._seconds:g} seconds")
            return future.result()
        finally:
            future.cancel()
            gone.cancel()
            # The traceback of an error holds this frame: it must not hold the error in turn, since
            # such a cycle keeps a whole body until the next garbage collection.
            del future, either

    async def run(
        self, pool: Executor, function: Callable[..., Result], *arguments: object
    ) -> Result:
        """Return the result of `function` in a thread of `pool`. If the client leaves or the
        deadline passes, work that waits is dropped, and work that runs is waited for: it calls
        `check`, and its memory is in use until it ends."""
        job = pool.submit(contextvars.copy_context().run, function, *arguments)
        running = asyncio.wrap_future(job)
        try:
            return await self.wait(asyncio.shield(running))
        except (ClientGone, DeadlineExceeded):
            if not job.cancel():
                await asyncio.wait({running})
            raise
        except asyncio.CancelledError:
            self._is_gone = True
            job.cancel()
            raise
        finally:
            del job, running  # no cycle; see `wait`
