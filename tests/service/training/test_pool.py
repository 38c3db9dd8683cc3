"""Numbers of trainers and of their threads."""

import os

import pytest
import torch

from ml import devices
from service.settings import Settings
from service.training.pool import threads_per_trainer, trainer_count


def test_trainer_count_matches_usable_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert trainer_count(Settings()) == 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert trainer_count(Settings()) == 4


@pytest.mark.parametrize(
    ("cores", "trainers", "threads"), [(1, 1, 1), (8, 1, 7), (8, 2, 3), (8, 0, 7), (2, 64, 1)]
)
def test_trainers_share_all_cores_but_one(
    cores: int, trainers: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    assert threads_per_trainer(Settings(trainers=trainers)) == threads


def test_settings_override_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "gpu_count", lambda: 4)
    assert trainer_count(Settings(trainers=0)) == 0
    assert threads_per_trainer(Settings(trainers=2, trainer_threads=5)) == 5
