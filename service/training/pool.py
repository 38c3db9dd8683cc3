"""Size of the trainer pool: set by the operator, or derived from this machine."""

import os

from ml import devices
from service.settings import Settings


def trainer_count(settings: Settings) -> int:
    """Return the number of trainers: by default one per GPU, or one on the CPU."""
    if settings.trainers is not None:
        return settings.trainers
    return max(1, devices.gpu_count())


def threads_per_trainer(settings: Settings) -> int:
    """Return the PyTorch threads of each trainer; one core is left to the web process."""
    if settings.trainer_threads is not None:
        return settings.trainer_threads
    cores = len(os.sched_getaffinity(0))
    return max(1, (cores - 1) // max(1, trainer_count(settings)))
