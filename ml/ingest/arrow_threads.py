"""Threads that Arrow starts while it reads a file."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa


@contextmanager
def needing_memory() -> Iterator[None]:
    """Raise `MemoryError` for a thread that does not start: its stack needs memory."""
    try:
        yield
    except pa.ArrowException as error:
        if "launch worker thread" in str(error):
            raise MemoryError(str(error)) from None
        raise
