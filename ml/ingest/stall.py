"""A guard against libraries that wait for ever where they should fail.

An error in the first block of a CSV file, such as a failed allocation, may make Arrow's reader wait
on one of its own threads for the end of that very thread.
"""

import threading
import time
from collections.abc import Callable

SECONDS = 30
"""Seconds without work after which a process is taken to be stuck, rather than waiting for a
disk."""
LEAST_WORK = 0.001
"""Processor time in a second, above which a process is at work: watching takes less."""


def watch(report: Callable[[], None], seconds: int) -> None:
    """Call `report` in a thread of its own once this process has not worked for `seconds`.

    Seconds in which the process is suspended do not count.
    """
    threading.Thread(target=_watch, args=(report, seconds), name="stall", daemon=True).start()


def _watch(report: Callable[[], None], seconds: int) -> None:
    idle = 0
    while idle < seconds:
        before = time.process_time()
        time.sleep(1)
        idle = idle + 1 if time.process_time() - before < LEAST_WORK else 0
    report()
