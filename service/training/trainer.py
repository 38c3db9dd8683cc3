"""A trainer process: warm, one attempt at a time.

It reads one JSON line per attempt from standard input and replies on standard output with `done`,
or with `last` if it cannot run another attempt; while an attempt waits for the database, it sends
`waiting`. It exits as soon as standard input closes, so that
no trainer outlives the service. Everything else goes into the job's row.
"""

import json
import logging
import os
import sys
import threading
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

import torch
from pydantic import BaseModel

from ml import datasets, devices
from ml.datasets.cache import DatasetCache
from ml.specs import TrainingSpec
from ml.training import summary
from ml.training.engines.choose import choose
from ml.training.initial_model import build
from ml.training.loop import fit
from ml.training.run import Run
from service import logs, memory
from service.errors import DatabaseUnusable
from service.jobs.attempts import AttemptStore, Claim, LeaseLost
from service.processes import take_config
from service.settings import MIB, Settings
from service.storage.database import Database
from service.training.attempt import Attempt, TrainerContext

logger = logging.getLogger(__name__)

DRAIN = "drain"
"""Line that asks a trainer to save a checkpoint and requeue its job."""
LAST = "last"
"""Reply, instead of `done`, after the last attempt of a trainer."""
WAITING = "waiting"
"""Sent repeatedly during an attempt while it waits for the database."""
PATIENCE_SECONDS = 2.0
"""Wait of a trainer for its turn to write, after which it sends `waiting` and tries again."""


class TrainerConfig(BaseModel):
    """Configuration of a trainer process."""

    settings: Settings
    auto_device: str
    share: float
    threads: int


def main() -> None:
    """Run attempts until standard input closes."""
    config = TrainerConfig.model_validate_json(take_config())
    settings = config.settings
    logs.configure(settings.log_format)
    logging.captureWarnings(True)
    os.nice(settings.trainer_nice)
    replies = _claim_stdout()
    claims: SimpleQueue[Claim] = SimpleQueue()
    context = TrainerContext(
        settings,
        torch.device(config.auto_device),
        config.share,
        DatasetCache(settings.datasets_dir, settings.dataset_cache_mb * MIB),
        draining=threading.Event(),
        threads=config.threads,
        report_waiting=partial(_reply, replies, WAITING),
    )
    threading.Thread(target=_listen, args=(claims, context.draining), daemon=True).start()
    torch.set_num_threads(config.threads)
    _warm_up(context)
    try:
        attempts = AttemptStore(Database(settings.sqlalchemy_url, PATIENCE_SECONDS), settings)
    except DatabaseUnusable as error:
        sys.exit(str(error))
    _reply(replies, "ready")
    goes_on = True
    while goes_on:
        goes_on = _attempt(claims.get(), attempts, context)
        _reply(replies, "done" if goes_on else LAST)


def _attempt(claim: Claim, attempts: AttemptStore, context: TrainerContext) -> bool:
    """Run an attempt and release its memory; return whether this process can run another. Most GPU
    errors persist until the process ends."""
    with logs.about_job(claim.job_id):
        device = _run(claim, attempts, context)
    if not devices.is_sound(device):
        logger.error("this trainer can no longer use %s and exits", device)
        return False
    devices.release_memory(device)
    memory.trim()
    return True


def _run(claim: Claim, attempts: AttemptStore, context: TrainerContext) -> torch.device:
    """Run an attempt and return its device. No reference to its run remains."""
    attempt = Attempt(claim, attempts, context)
    try:
        attempt.run()
    except LeaseLost as lost:
        logger.warning("%s", lost)
    except Exception:
        # The row cannot be written, for example in a damaged database: the lease will expire.
        logger.exception(
            "could not record the end of attempt %d of %s", claim.attempt, claim.job_id
        )
    return attempt.device


def _warm_up(context: TrainerContext) -> None:
    """Train and evaluate a small model, because first calls take seconds."""
    devices.use(context.auto_device, context.share)
    spec = TrainingSpec.of(
        {
            "dataset": {
                "kind": "synthetic",
                "features": {"x": {"linspace": [0, 1]}},
                "target": "x",
            },
            # On a GPU this is long enough to capture a CUDA graph.
            "epochs": 20 if context.auto_device.type == "cuda" else 1,
        }
    )
    data = datasets.load(spec.dataset, spec.split, Path())
    run = Run(build(spec, data), data, spec, context.auto_device)
    for _ in fit(run, choose(run, graphs=context.settings.cuda_graphs)):
        pass
    summary.summarize(run)


def _claim_stdout() -> BinaryIO:
    """Reserve standard output for replies and redirect other output to standard error."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return replies


def _listen(claims: "SimpleQueue[Claim]", draining: threading.Event) -> None:
    for line in sys.stdin:
        if line.strip() == DRAIN:
            draining.set()
        else:
            claims.put(Claim(**json.loads(line)))
    os._exit(0)


def _reply(replies: BinaryIO, word: str) -> None:
    replies.write(f"{word}\n".encode())
    replies.flush()


if __name__ == "__main__":
    main()
