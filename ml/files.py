"""Durable file writes that survive a power cut."""

import os
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Write `data` to the file `path` and fsync it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, data: bytes) -> None:
    """Write `data` to the file `path` as a whole: a reader, or a crash, sees the old content or the
    new. Files that share the old content by a hard link keep it."""
    partial = path.with_name(f".{path.name}.partial")
    write(partial, data)
    partial.rename(path)
    sync(path.parent)


def sync_tree(directory: Path) -> None:
    """Fsync all files and directories in `directory`."""
    for path in (*directory.rglob("*"), directory):
        sync(path)


def sync(directory: Path) -> None:
    """Fsync `directory`, which makes renames in it durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
