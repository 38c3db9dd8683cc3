"""Memory of this process: what it uses, and the return of freed memory to the system.

glibc keeps freed memory for later allocations, in every thread's arena: without `trim`, one large
request would raise the memory of a process for good.
"""

import ctypes
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

MIB = 1024 * 1024
SLACK = 32 * MIB
"""Growth of the resident memory after which freed memory is looked for."""
MAX_PAUSE_SECONDS = 60.0
VMSTAT = Path("/proc/vmstat")
MEMINFO = Path("/proc/meminfo")
CGROUPS = Path("/sys/fs/cgroup")
LIMITS = {"": "memory.max", "memory": "memory.limit_in_bytes"}
"""File of a control group's memory limit, by controller."""


def trim() -> None:
    """Return freed memory to the system; without glibc, do nothing."""
    if (malloc_trim := _malloc_trim()) is not None:
        malloc_trim(0)


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def oom_kills() -> int:
    """Return how many processes the kernel has killed for want of memory; 0 where it does not say,
    as before version 4.13."""
    with suppress(OSError):
        for line in VMSTAT.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0


def machine_bytes() -> int | None:
    """Return the memory that this process may use: that of the machine, or the limit of one of its
    control groups; None where the system does not say."""
    try:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
    return min([machine, *_group_limits()])


def machine_memory() -> tuple[int, int] | None:
    """Return the bytes of the machine's memory that are in use, by any process, and all of them;
    None where the system does not say."""
    with suppress(OSError, ValueError, KeyError):
        lines = MEMINFO.read_text().splitlines()
        sizes = {name: int(rest.split()[0]) for name, _, rest in (x.partition(":") for x in lines)}
        total = sizes["MemTotal"]
        return (total - sizes["MemAvailable"]) * 1024, total * 1024
    return None


def _group_limits() -> Iterator[int]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        # Version 2 has one hierarchy, version 1 has one for each controller.
        if controllers not in ("", "memory"):
            continue
        root, name = CGROUPS / controllers, LIMITS[controllers]
        place = root / group.lstrip("/")
        for directory in (place, *place.parents):
            with suppress(OSError, ValueError):
                yield int((directory / name).read_text())
            if directory == root:
                break


class Trimmer:
    """Trims after growth: requests of every kind leave freed memory behind, some long after they
    are answered.

    While the process is larger than it was at its start, attempts go on at growing intervals,
    because the memory of a request that still runs is not free yet.
    """

    def __init__(self) -> None:
        self._floor = self._seen = resident_bytes()
        self._pause = 1.0
        self._next = 0.0
        self._trimming = threading.Lock()

    def tick(self) -> None:
        """Trim in a thread if it is time. To be called every second; costs microseconds."""
        now, resident = time.monotonic(), resident_bytes()
        if resident > self._seen + SLACK:
            self._pause, self._next = 1.0, min(self._next, now)
            self._seen = resident
        if resident < self._floor + SLACK or now < self._next:
            return
        if self._trimming.acquire(blocking=False):
            threading.Thread(target=self._trim, args=(resident,), name="trim", daemon=True).start()

    def _trim(self, before: int) -> None:
        try:
            trim()
            self._seen = resident_bytes()
            freed = before - self._seen > SLACK
            self._pause = 1.0 if freed else min(2 * self._pause, MAX_PAUSE_SECONDS)
            self._next = time.monotonic() + self._pause
        finally:
            self._trimming.release()


@cache
def _malloc_trim() -> Callable[[int], object] | None:
    """Return glibc's `malloc_trim`, which releases the global interpreter lock; None elsewhere."""
    try:
        function: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None
    return function
