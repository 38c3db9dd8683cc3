"""Data sets in the memory of a web process: a few at a time, and none too large."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ml.datasets import DatasetSpec
from ml.errors import Invalid
from service.errors import Overloaded
from service.settings import MIB

AT_ONCE = 2
MAX_BYTES = 96 * MIB
"""Of a data set's inputs: all of it is loaded, whichever split is asked for."""


class MemorySlots:
    """Gives places in memory. Safe to use from several threads."""

    def __init__(self) -> None:
        self._semaphore = threading.BoundedSemaphore(AT_ONCE)

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Have a place for as long as the context lasts.

        Raises:
            Overloaded: all are taken.
        """
        if not self._semaphore.acquire(blocking=False):
            raise Overloaded(f"{AT_ONCE} data sets are being worked on here already")
        try:
            yield
        finally:
            self._semaphore.release()


def check_size(dataset: DatasetSpec) -> None:
    """Do nothing for a data set that fits a place.

    Raises:
        Invalid: it is too large.
    """
    signature, row_counts = dataset.signature(), dataset.row_counts()
    rows = row_counts.rows + row_counts.builtin_split_rows
    size = rows * signature.input_size * signature.inputs.itemsize
    if size > MAX_BYTES:
        raise Invalid(f"takes {size / MIB:,.0f} MiB; here it may take {MAX_BYTES // MIB} MiB")
