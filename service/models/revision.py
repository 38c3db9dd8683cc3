"""The model registry's version, which changes with it and is seen at once by every process."""

import mmap
import os
from pathlib import Path

SIZE = 8


class RegistryVersion:
    """Eight bytes of a file that all processes on this data directory have in their memory: to look
    at them costs no system call, so that every prediction can."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if os.fstat(descriptor).st_size < SIZE:
                os.truncate(descriptor, SIZE)
            self._bytes = mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)

    def current(self) -> bytes:
        """Return the version."""
        return self._bytes[:]

    def bump(self) -> None:
        """Set another version. To be called after a change of the registry was committed."""
        self._bytes[:] = os.urandom(SIZE)
