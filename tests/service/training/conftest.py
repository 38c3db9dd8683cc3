"""A trainer's context, for attempts run in the tests' own process."""

import threading

import pytest
import torch

from ml.datasets.cache import DatasetCache
from service.settings import Settings
from service.training.attempt import TrainerContext


@pytest.fixture
def context(settings: Settings) -> TrainerContext:
    for directory in (settings.models_dir, settings.checkpoints_dir, settings.datasets_dir):
        directory.mkdir(parents=True, exist_ok=True)
    cache = DatasetCache(settings.datasets_dir, 1 << 20)
    return TrainerContext(settings, torch.device("cpu"), 0.5, cache, draining=threading.Event())
