"""Writing files that survive a power cut."""

import os
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Write `data` into the file `path`, on the disk when this returns."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(directory: Path) -> None:
    """Put on the disk which files `directory` holds: a rename is not, before."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
