"""Limits on the number and size of data sets in the memory of a web process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ml.datasets import DatasetSpec
from ml.errors import Invalid
from service.errors import Overloaded
from service.settings import MIB

AT_ONCE = 2
MAX_BYTES = 96 * MIB
"""Maximum size of a data set's inputs, which are loaded in full for any split."""


class MemorySlots:
    """Slots for data sets in memory. Thread-safe."""

    def __init__(self) -> None:
        self._semaphore = threading.BoundedSemaphore(AT_ONCE)

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Hold a slot within the context.

        Raises:
            Overloaded: all slots are taken.
        """
        if not self._semaphore.acquire(blocking=False):
            raise Overloaded(f"{AT_ONCE} data sets are being processed already; retry in a second")
        try:
            yield
        finally:
            self._semaphore.release()


def check_size(dataset: DatasetSpec) -> None:
    """Check that a data set fits a slot.

    Raises:
        Invalid: the data set is too large.
    """
    signature, row_counts = dataset.signature(), dataset.row_counts()
    rows = row_counts.rows + row_counts.builtin_split_rows
    size = rows * signature.input_size * signature.inputs.itemsize
    if size > MAX_BYTES:
        raise Invalid(
            f"takes {size / MIB:,.0f} MiB of memory; the limit here is {MAX_BYTES // MIB} MiB"
        )
