"""The ways in which a stored file gets damaged."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from ml.artifacts import MANIFEST
from ml.integrity import CHECKSUMS


def flip(path: Path) -> None:
    """Flip the lowest bit of the byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "gone": Path.unlink,
    "flipped": flip,
    "cut": cut,
    "emptied": empty,
    "a directory": make_directory,
    "a pipe": make_pipe,
}

USUAL = ("gone", "flipped", "cut")


def unseal(model: Path) -> None:
    """Make the directory of a model one that an earlier version saved."""
    (model / CHECKSUMS).unlink()
    manifest = json.loads((model / MANIFEST).read_text()) | {"format": 1}
    (model / MANIFEST).write_text(json.dumps(manifest))
