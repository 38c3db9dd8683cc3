"""Threads by the kind of work, so that one kind never waits for another."""

import os
from concurrent.futures import ThreadPoolExecutor

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
        self.bulk = ThreadPoolExecutor(BULK_THREADS, thread_name_prefix="bulk")
        """Work that may take minutes: NDJSON, uploads, evaluations."""

    def close(self) -> None:
        """Drop waiting work and let running work finish."""
        for pool in (self.control, self.decode, self.bulk):
            pool.shutdown(wait=False, cancel_futures=True)
