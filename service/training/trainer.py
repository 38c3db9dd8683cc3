"""A trainer process: warm, one attempt at a time.

It reads one JSON line per attempt from its standard input and answers each with one on its
standard output, which says whether it can do another. When the input ends, so does it, whatever it
is doing, so that no trainer outlives the service. All else it has to say goes into the job's row.
"""

import json
import logging
import os
import sys
import threading
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
from ml.training.loop import fit
from ml.training.run import Run, build
from service import logs
from service.jobs.attempts import AttemptStore, Claim, LeaseLost
from service.settings import MIB, Settings
from service.storage.database import Database
from service.training.attempt import Attempt, TrainerContext

logger = logging.getLogger(__name__)

DRAIN = "drain"
"""The line that asks a trainer to save its state and give its job back to the queue."""
LAST = "last"
"""The answer to an attempt after which the trainer ends, instead of `done`."""


class TrainerConfig(BaseModel):
    """What a trainer process is told when it starts."""

    settings: Settings
    auto_device: str
    share: float
    threads: int


def main(argument: str) -> None:
    """Serve attempts until the standard input ends."""
    config = TrainerConfig.model_validate_json(argument)
    settings = config.settings
    logs.configure(settings.log_format)
    os.nice(settings.trainer_nice)
    replies = _claim_stdout()
    claims: SimpleQueue[Claim] = SimpleQueue()
    context = TrainerContext(
        settings,
        torch.device(config.auto_device),
        config.share,
        DatasetCache(settings.datasets_dir, settings.dataset_cache_mb * MIB),
        draining=threading.Event(),
    )
    threading.Thread(target=_listen, args=(claims, context.draining), daemon=True).start()
    torch.set_num_threads(config.threads)
    _warm_up(context)
    attempts = AttemptStore(Database(settings.sqlalchemy_url), settings)
    _reply(replies, "ready")
    goes_on = True
    while goes_on:
        goes_on = _attempt(claims.get(), attempts, context)
        _reply(replies, "done" if goes_on else LAST)


def _attempt(claim: Claim, attempts: AttemptStore, context: TrainerContext) -> bool:
    """Do an attempt, and give back the memory it took; return whether this process can do
    another: most errors of a GPU stay with the process that met them."""
    device = _run(claim, attempts, context)
    if not devices.is_sound(device):
        logger.error("%s cannot be used any more by this trainer, which ends", device)
        return False
    devices.release_memory(device)
    return True


def _run(claim: Claim, attempts: AttemptStore, context: TrainerContext) -> torch.device:
    """Do an attempt, and return the device it used. Nothing refers to its run any more then."""
    attempt = Attempt(claim, attempts, context)
    try:
        attempt.run()
    except LeaseLost as lost:
        logger.warning("%s", lost)
    except Exception:
        # Its row cannot be written, with a full disk say: the lease will tell.
        logger.exception("attempt %d of %s could not be ended", claim.attempt, claim.job_id)
    return attempt.device


def _warm_up(context: TrainerContext) -> None:
    """Train and evaluate something small: what is done for the first time takes seconds."""
    devices.use(context.auto_device, context.share)
    spec = TrainingSpec.of(
        {
            "dataset": {
                "kind": "synthetic",
                "features": {"x": {"linspace": [0, 1]}},
                "target": "x",
            },
            # On a GPU steps are captured after a while: that too is to be done once.
            "epochs": 20 if context.auto_device.type == "cuda" else 1,
        }
    )
    data = datasets.load(spec.dataset, spec.split, Path())
    run = Run(build(spec, data), data, spec, context.auto_device)
    for _ in fit(run, choose(run, graphs=context.settings.cuda_graphs)):
        pass
    summary.summarize(run)


def _claim_stdout() -> BinaryIO:
    """Keep the standard output for replies; whatever else prints goes to the standard error."""
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
    main(sys.argv[1])
