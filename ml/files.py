"""Durable file writes that survive a power cut."""

import os
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Write `data` to the file `path` and fsync it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(directory: Path) -> None:
    """Fsync `directory`, which makes renames in it durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
