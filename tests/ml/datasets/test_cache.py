"""Data sets stay in memory while they fit; the least recently used are evicted first."""

from pathlib import Path
from typing import Any

import pytest

from ml import datasets
from ml.datasets import Dataset
from ml.datasets import cache as cached
from ml.datasets.cache import DatasetCache
from ml.specs import TrainingSpec
from tests.conftest import PLANE

ROW = 4 * 4
"""Bytes of a row: three features and a target."""


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the data sets loaded on cache misses."""
    sizes: list[int] = []

    def load(*arguments: Any) -> Dataset:
        sizes.append(arguments[0].size)
        return datasets.load(*arguments)

    monkeypatch.setattr(cached, "load", load)
    return sizes


def sized(size: int) -> TrainingSpec:
    return TrainingSpec.of(PLANE | {"dataset": PLANE["dataset"] | {"size": size}})


def load_sizes(cache: DatasetCache, *sizes: int) -> None:
    for size in sizes:
        data = cache.load(sized(size).dataset, sized(size).split)
        assert data.nbytes == size * ROW


def test_most_recently_used_data_sets_are_kept(loads: list[int]) -> None:
    cache = DatasetCache(Path(), max_bytes=200 * ROW)
    load_sizes(cache, 100, 60, 100, 70)  # 60 is evicted
    load_sizes(cache, 100, 70, 60)
    assert loads == [100, 60, 70, 60]


def test_oversized_data_sets_are_not_cached(loads: list[int]) -> None:
    load_sizes(DatasetCache(Path(), max_bytes=50 * ROW), 60, 60)
    load_sizes(DatasetCache(Path(), max_bytes=0), 70, 70)
    assert loads == [60, 60, 70, 70]


def test_splits_are_cached_separately(loads: list[int]) -> None:
    cache = DatasetCache(Path(), max_bytes=10**6)
    first = sized(100)
    other = TrainingSpec.of(first.model_dump() | {"split": {"validation": 0.3}})
    assert cache.load(first.dataset, first.split).validation is None
    assert cache.load(other.dataset, other.split).validation is not None
    assert cache.load(first.dataset, first.split).validation is None
    assert loads == [100, 100]
