"""Checkpoints of training runs: written atomically and verified when read.

A file's name consists of the attempt, the step and the SHA-256 of its content, so a damaged file is
detected and the one before it is used.
"""

import contextlib
import io
import logging
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from ml import faults
from ml.errors import Damaged
from ml.files import sync, write
from ml.integrity import read_file

logger = logging.getLogger(__name__)

NAME = re.compile(r"(?P<attempt>\d{6})-(?P<step>\d{12})-(?P<sha256>[0-9a-f]{64})\.pt")


@dataclass(frozen=True, order=True)
class Checkpoint:
    """A checkpoint file and the fields of its name. Newer checkpoints compare greater."""

    attempt: int
    step: int
    sha256: str
    path: Path


def save(directory: Path, attempt: int, step: int, state: dict[str, Any], keep: int) -> None:
    """Write `state` durably into `directory`, then delete all but the newest `keep` checkpoints.

    Raises:
        OSError: the write failed; the partial file is removed.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f".{attempt:06}.partial"
    try:
        write(partial, data)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    faults.reach("checkpoint written")
    partial.rename(directory / f"{attempt:06}-{step:012}-{sha256(data).hexdigest()}.pt")
    faults.reach("checkpoint renamed")
    sync(directory)
    leftovers = directory.glob(".*.partial")
    for old in (*(checkpoint.path for checkpoint in listed(directory)[keep:]), *leftovers):
        with contextlib.suppress(OSError):  # a damaged one may be a directory
            old.unlink()


def load_newest(directory: Path) -> dict[str, Any] | None:
    """Return the state of the newest intact checkpoint in `directory`, with its tensors on the CPU;
    None if there is none."""
    found = listed(directory)
    for checkpoint in found:
        try:
            data = read_file(directory, checkpoint.path.name, checkpoint.sha256)
        except Damaged as damage:
            logger.warning("the checkpoint of step %d is damaged: %s", checkpoint.step, damage)
            continue
        if checkpoint is not found[0]:
            logger.warning("continuing from the checkpoint before it, step %d", checkpoint.step)
        state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return state
    if found:
        logger.warning("no checkpoint is intact: starting from the beginning")
    return None


def listed(directory: Path) -> list[Checkpoint]:
    """Return the checkpoints in `directory`, newest first."""
    if not directory.is_dir():
        return []
    found = [(NAME.fullmatch(path.name), path) for path in directory.iterdir()]
    return sorted(
        (
            Checkpoint(int(match["attempt"]), int(match["step"]), match["sha256"], path)
            for match, path in found
            if match
        ),
        reverse=True,
    )
