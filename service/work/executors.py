"""Threads by the kind of work, so that one kind never waits for another."""

import asyncio
import contextvars
import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

CONTROL_THREADS = 8
BULK_THREADS = 4


class Executors:
    """The thread pools of a web process.

    `control` is also the event loop's default pool, which `asyncio.to_thread` uses: only work
    whose size no client chooses may go there.
    """

    def __init__(self) -> None:
        self.control = ThreadPoolExecutor(CONTROL_THREADS, thread_name_prefix="control")
        """The database, and other short work of the service itself."""
        self.decode = ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="decode")
        """Bodies and images of prediction requests."""
        self.large_images = ThreadPoolExecutor(
            max(1, len(os.sched_getaffinity(0)) // 2), thread_name_prefix="large-images"
        )
        """Images that take longer to decode than others should wait."""
        self.bulk = ThreadPoolExecutor(BULK_THREADS, thread_name_prefix="bulk")
        """Work that may take minutes: NDJSON, uploads, evaluations."""

    def close(self) -> None:
        """Drop waiting work and let running work finish."""
        for pool in (self.control, self.decode, self.large_images, self.bulk):
            pool.shutdown(wait=False, cancel_futures=True)


async def run_in(pool: Executor, function: Callable[..., Result], *arguments: object) -> Result:
    """Return the result of `function` in a thread of `pool`, like `asyncio.to_thread`."""
    in_context = contextvars.copy_context().run
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(pool, in_context, function, *arguments)
