"""The boundary around readers of uploads."""

from contextlib import AbstractContextManager

from ml.decoding import decoding
from ml.ingest.zip_safety import BROKEN


def reading(subject: str) -> AbstractContextManager[None]:
    """Turn every error of a reader into `Invalid`, except those that the file's reader explains
    itself, errors of the disk and the memory limit of the process."""
    return decoding(subject, OSError, MemoryError, *BROKEN)
