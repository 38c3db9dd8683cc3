"""The operator's limits on disk space."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from service.errors import InsufficientStorage
from service.readiness import Finding
from service.settings import MIB, Settings

BLOCK = 512
"""Unit of `st_blocks`."""
REMEASURE_SECONDS = 5.0
MAX_SHARE = 0.02
"""Greatest share of the time that is spent on measuring the data directory."""


class DiskSpace:
    """Measures the data directory from time to time, and its file system each time it is asked."""

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.data_dir.resolve()
        self._max_used = settings.max_disk_mb and settings.max_disk_mb * MIB
        self._min_free = settings.min_free_mb * MIB
        self._measuring = threading.Lock()
        self._used = 0
        self._next = 0.0

    def refusal(self, size: int = 0) -> InsufficientStorage | None:
        """Return the error for new data of `size` bytes, or None if there is room. This may measure
        the data directory: call it in a thread."""
        reason = self._shortage(size)
        return InsufficientStorage(reason) if reason else None

    def findings(self) -> Iterator[Finding]:
        """Tell whether uploads and new jobs are refused. Predictions and running jobs go on."""
        if reason := self._shortage(0):
            yield Finding(f"uploads and new jobs are refused: {reason}")

    def _shortage(self, size: int) -> str | None:
        free = shutil.disk_usage(self._directory).free
        if free - size < self._min_free:
            return (
                f"{_mb(free)} are free on the file system of the data directory"
                f"{_of(size)}; EPOCHD_MIN_FREE_MB leaves {_mb(self._min_free)} free"
            )
        if self._max_used is not None:
            used = self._measured()
            if used + size > self._max_used:
                return (
                    f"the data directory has {_mb(used)}{_of(size)}; EPOCHD_MAX_DISK_MB allows "
                    f"{_mb(self._max_used)}"
                )
        return None

    def _measured(self) -> int:
        """Return the size of the data directory. One thread measures; others use the last size."""
        if time.monotonic() >= self._next and self._measuring.acquire(blocking=self._next == 0):
            try:
                if time.monotonic() >= self._next:
                    began = time.monotonic()
                    self._used = directory_bytes(self._directory)
                    now = time.monotonic()
                    self._next = now + max(REMEASURE_SECONDS, (now - began) / MAX_SHARE)
            finally:
                self._measuring.release()
        return self._used


def directory_bytes(directory: Path) -> int:
    """Return the disk space of all files below `directory`; a file with several names counts
    once."""
    sizes: dict[tuple[int, int], int] = {}
    total, pending = 0, [os.fspath(directory)]
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # deleted meanwhile
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif status.st_nlink > 1:
                        sizes[status.st_dev, status.st_ino] = status.st_blocks * BLOCK
                        continue
                    total += status.st_blocks * BLOCK
    return total + sum(sizes.values())


def _of(size: int) -> str:
    return f", and this would take {_mb(size)}" if size else ""


def _mb(size: int) -> str:
    return f"{size / MIB:,.0f} MB"
