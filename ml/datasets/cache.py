"""Data sets kept in memory from one run to the next."""

from collections import OrderedDict
from pathlib import Path

from ml.datasets import Dataset, DatasetSpec, SplitSpec, load


class DatasetCache:
    """Least-recently-used cache of data sets; one larger than the whole cache is not kept."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[str, str, int | None], Dataset] = OrderedDict()

    def load(self, spec: DatasetSpec, split: SplitSpec, fold: int | None = None) -> Dataset:
        """Return the data set that `spec`, `split` and `fold` describe, see `ml.datasets.load`."""
        key = spec.model_dump_json(), split.model_dump_json(), fold
        data = self._entries.pop(key, None) or load(spec, split, self._root, fold)
        self._entries[key] = data
        while sum(entry.nbytes for entry in self._entries.values()) > self._max_bytes:
            self._entries.popitem(last=False)
        return data
