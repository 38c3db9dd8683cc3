"""A trainer process: warm, one attempt at a time.

It reads one JSON line per attempt from its standard input and answers each with one on its
standard output, which says whether it can do another. When the input ends, so does it, whatever it
is doing, so that no trainer outlives the service. All else it has to say goes into the job's row.
"""

import json
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

import torch
from pydantic import BaseModel

from ml import datasets, devices, faults
from ml.artifacts import Manifest, save_model
from ml.datasets.cache import DatasetCache
from ml.specs import TrainingSpec
from ml.training import checkpoints, loop, summary
from ml.training.cross_validation import Course
from ml.training.engines.base import Engine
from ml.training.engines.choose import choose
from ml.training.loop import Report
from ml.training.run import Run, build, steps_per_epoch
from service import logs
from service.jobs.attempts import AttemptStore, Claim, LostClaim, Work
from service.jobs.failures import TimedOut, device_lost, explain
from service.jobs.schemas import JobOptions
from service.processes import die_with
from service.settings import MIB, Settings
from service.storage.database import Database
from service.training.reporter import LogHandler, Reporter

logger = logging.getLogger(__name__)

DRAIN = "drain"
"""The line that asks a trainer to save its state and give its job back to the queue."""
LAST = "last"
"""The answer to an attempt after which the trainer ends, instead of `done`."""
DEVICE_FAULTS = frozenset({"internal", "out_of_memory"})
"""Kinds of errors that may come of a device rather than of the job."""


class Interrupted(Exception):
    """The attempt ends between two steps, as was wished, or because the service stops."""


class Attempt:
    """One attempt at a job, from its claim to its end."""

    def __init__(self, claim: Claim, attempts: AttemptStore, bench: "Bench") -> None:
        self._claim = claim
        self._attempts = attempts
        self._settings = bench.settings
        self._bench = bench
        self._reporter = Reporter(attempts, claim)
        self._checkpoints = bench.settings.checkpoints_dir / claim.job_id
        self._state: dict[str, Any] | None = None
        """The checkpoint that the next run goes on from."""
        self.device = bench.auto_device
        """The device that it uses, or has used."""

    def run(self) -> None:
        """Do it, and write into the job's row how it ended.

        Raises:
            LostClaim: the job was taken away meanwhile.
        """
        try:
            work = self._attempts.work(self._claim)
            with self._reporter, _logging_to(self._reporter):
                directory, manifest = self._train(work)
        except Interrupted:
            self._attempts.release(self._claim)
        except LostClaim:
            raise
        except Exception as error:
            logger.exception("attempt %d of %s failed", self._claim.attempt, self._claim.job_id)
            self._fail(error)
        else:
            self._register(directory, manifest)

    def _fail(self, error: Exception) -> None:
        """End the job, or have it tried again where the fault is this process's."""
        explanation = explain(error)
        if explanation.kind in DEVICE_FAULTS and not devices.is_sound(self.device):
            lost = device_lost(error, str(self.device))
            self._attempts.crashed(self._claim, lost)
        else:
            self._attempts.fail(self._claim, explanation)

    def _train(self, work: Work) -> tuple[Path, Manifest]:
        """Train to the end and save the model; return where, and what it is."""
        spec, bench = work.spec, self._bench
        self.device = bench.device_for(spec.device)
        devices.use(self.device, bench.share)
        pulse = Pulse(work.options)
        self._state = checkpoints.load_newest(self._checkpoints)
        course = Course.of(self._state)
        for fold in range(len(course.folds), spec.split.folds or 0):
            course = self._train_fold(spec, pulse, course, fold)
            # Else the run of this fold is in memory beside that of the next.
            devices.release_memory(self.device)
        run, engine = self._prepare(spec)
        data = run.data
        for report in self._fit(run, engine, pulse, course):
            self._reporter.report(report)
        kept = summary.keep(run)
        metrics = course.summary()
        if kept.evaluation.split == "test":
            figures = kept.evaluation.figures()
            metrics |= {f"test_{name}": figure for name, figure in figures.items()}
        directory = self._settings.models_dir / f"{self._claim.job_id}-{self._claim.attempt}"
        manifest = save_model(
            directory,
            run.model,
            spec,
            data.signature,
            metrics,
            data.fingerprint,
            self.device,
            beside=kept.files(),
        )
        faults.reach("artifact renamed")
        return directory, manifest

    def _train_fold(self, spec: TrainingSpec, pulse: "Pulse", course: Course, fold: int) -> Course:
        run, engine = self._prepare(spec, fold)
        for _ in self._fit(run, engine, pulse, course):
            pass
        course = course.after(run)
        self._reporter.report(Report("fold", fold + 1, fold + 1, course.folds[-1]))
        return course

    def _fit(self, run: Run, engine: Engine, pulse: "Pulse", course: Course) -> Iterator[Report]:
        def between_steps(run: Run) -> None:
            # A graph that cannot be captured leaves the run with another engine.
            self._reporter.engine = engine.name
            self._between_steps(run, pulse, course)

        pulse.begin(run.progress.epoch)
        for report in loop.fit(run, between_steps, engine):
            self._reporter.engine = engine.name
            yield report

    def _prepare(self, spec: TrainingSpec, fold: int | None = None) -> tuple[Run, Engine]:
        """Return the run that is next, where the checkpoint says it is, and what does its steps."""
        data = self._bench.datasets.load(spec.dataset, spec.split, fold)
        faults.reach("data loaded")
        run = Run(build(spec, data), data, spec, self.device)
        if self._state is not None:
            run.load_state_dict(self._state)
            self._state = None
        engine = choose(run, graphs=self._settings.cuda_graphs)
        step, steps = run.progress.step, spec.epochs * steps_per_epoch(spec, data)
        logger.info(
            "attempt %d trains on %s, on %d rows%s, from step %d of %d",
            self._claim.attempt,
            self.device,
            len(data.train),
            "" if fold is None else f" without fold {fold + 1} of {spec.split.folds}",
            step,
            steps,
        )
        self._reporter.engine = engine.name
        self._attempts.begin(self._claim, str(self.device), engine.name, step, steps)
        return run, engine

    def _register(self, directory: Path, manifest: Manifest) -> None:
        try:
            self._attempts.succeed(self._claim, manifest, directory.name)
        except LostClaim:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        shutil.rmtree(self._checkpoints, ignore_errors=True)

    def _between_steps(self, run: Run, pulse: "Pulse", course: Course) -> None:
        wish = self._reporter.wish()
        if wish == "cancel":
            raise Interrupted
        if wish == "pause" or self._bench.draining.is_set():
            self._save(run, course)
            raise Interrupted
        if (limit := pulse.limit_reached()) is not None:
            self._save(run, course)
            raise TimedOut(limit)
        if pulse.is_checkpoint_due(run.progress.epoch):
            self._save(run, course)

    def _save(self, run: Run, course: Course) -> None:
        # What was reported before the checkpoint would not be reported again after it.
        self._reporter.flush()
        checkpoints.save(
            self._checkpoints,
            self._claim.attempt,
            course.steps + run.progress.step,
            run.state_dict() | course.state_dict(),
            self._settings.keep_checkpoints,
        )


@dataclass(frozen=True)
class Bench:
    """What a trainer process keeps from one attempt to the next."""

    settings: Settings
    auto_device: torch.device
    share: float
    """Of a GPU's memory that it may take."""
    datasets: DatasetCache
    draining: threading.Event

    def device_for(self, name: str) -> torch.device:
        """Return the device that a spec's `device` means here.

        Raises:
            Invalid: there is no such GPU.
        """
        if name == "auto" or name == self.auto_device.type:
            return self.auto_device
        return devices.resolve(name)


class Pulse:
    """The clock of an attempt."""

    def __init__(self, options: JobOptions) -> None:
        self._options = options
        self._started_at = self._saved_at = time.monotonic()
        self._saved_epoch = 0

    def begin(self, epoch: int) -> None:
        """Count epochs from `epoch` on."""
        self._saved_epoch = epoch

    def limit_reached(self) -> float | None:
        """Return the time limit, in seconds, if it is reached."""
        limit = self._options.timeout_seconds
        over = limit is not None and time.monotonic() - self._started_at >= limit
        return limit if over else None

    def is_checkpoint_due(self, epoch: int) -> bool:
        """Return whether a checkpoint is due in `epoch`, which then counts as saved."""
        now, epochs = time.monotonic(), epoch - self._saved_epoch
        if now - self._saved_at < self._options.checkpoint_seconds and (
            self._options.checkpoint_epochs is None or epochs < self._options.checkpoint_epochs
        ):
            return False
        self._saved_at, self._saved_epoch = now, epoch
        return True


class Assignment(BaseModel):
    """What a trainer process is told when it starts."""

    settings: Settings
    parent: int
    auto_device: str
    share: float
    threads: int


def main(argument: str) -> None:
    """Serve attempts until the standard input ends."""
    assignment = Assignment.model_validate_json(argument)
    settings = assignment.settings
    die_with(assignment.parent)
    logs.configure(settings.log_format)
    os.nice(settings.trainer_nice)
    replies = _claim_stdout()
    claims: SimpleQueue[Claim] = SimpleQueue()
    bench = Bench(
        settings,
        torch.device(assignment.auto_device),
        assignment.share,
        DatasetCache(settings.datasets_dir, settings.dataset_cache_mb * MIB),
        draining=threading.Event(),
    )
    threading.Thread(target=_listen, args=(claims, bench.draining), daemon=True).start()
    torch.set_num_threads(assignment.threads)
    _warm_up(bench)
    attempts = AttemptStore(Database(settings.sqlalchemy_url), settings)
    _reply(replies, "ready")
    goes_on = True
    while goes_on:
        goes_on = _attempt(claims.get(), attempts, bench)
        _reply(replies, "done" if goes_on else LAST)


def _attempt(claim: Claim, attempts: AttemptStore, bench: Bench) -> bool:
    """Do an attempt, and give back the memory it took; return whether this process can do
    another: most errors of a GPU stay with the process that met them."""
    device = _run(claim, attempts, bench)
    if not devices.is_sound(device):
        logger.error("%s cannot be used any more by this trainer, which ends", device)
        return False
    devices.release_memory(device)
    return True


def _run(claim: Claim, attempts: AttemptStore, bench: Bench) -> torch.device:
    """Do an attempt, and return the device it used. Nothing refers to its run any more then."""
    attempt = Attempt(claim, attempts, bench)
    try:
        attempt.run()
    except LostClaim as lost:
        logger.warning("%s", lost)
    except Exception:
        # Its row cannot be written, with a full disk say: the lease will tell.
        logger.exception("attempt %d of %s could not be ended", claim.attempt, claim.job_id)
    return attempt.device


def _warm_up(bench: Bench) -> None:
    """Train and evaluate something small: what is done for the first time takes seconds."""
    devices.use(bench.auto_device, bench.share)
    spec = TrainingSpec.of(
        {
            "dataset": {
                "kind": "synthetic",
                "features": {"x": {"linspace": [0, 1]}},
                "target": "x",
            },
            # On a GPU steps are captured after a while: that too is to be done once.
            "epochs": 20 if bench.auto_device.type == "cuda" else 1,
        }
    )
    data = datasets.load(spec.dataset, spec.split, Path())
    run = Run(build(spec, data), data, spec, bench.auto_device)
    for _ in loop.fit(run, engine=choose(run, graphs=bench.settings.cuda_graphs)):
        pass
    summary.keep(run)


@contextmanager
def _logging_to(reporter: Reporter) -> Iterator[None]:
    handler = LogHandler(reporter)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


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
