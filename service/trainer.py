"""A trainer process: warm, one attempt at a time.

It reads one JSON line per attempt from its standard input and answers each with one on its
standard output; when the input ends, so does it, whatever it is doing, so that no trainer outlives
the service. All else it has to say goes into the job's row.
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
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

import torch
from pydantic import BaseModel

from ml import checkpoints, datasets, faults, keepsakes, training
from ml.artifacts import Manifest, save_model
from ml.cross_validation import Course
from ml.datasets.cache import DatasetCache
from ml.engines.choose import choose
from ml.specs import TrainingSpec
from ml.training import Report, Run
from service import logs
from service.attempts import AttemptStore, Claim, LostClaim, Work
from service.database import Database
from service.failures import TimedOut, explain
from service.processes import die_with
from service.reporter import LogHandler, Reporter
from service.schemas import JobError, JobOptions
from service.settings import MIB, Settings

logger = logging.getLogger(__name__)

DRAIN = "drain"
"""The line that asks a trainer to save its state and give its job back to the queue."""


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

    def run(self) -> JobError | None:
        """Do it, write into the job's row how it ended, and return what went wrong.

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
            explanation = explain(error)
            self._attempts.fail(self._claim, explanation)
            return explanation
        else:
            self._register(directory, manifest)
        return None

    def _train(self, work: Work) -> tuple[Path, Manifest]:
        """Train to the end and save the model; return where, and what it is."""
        spec = work.spec
        device = torch.device(self._bench.auto_device if spec.device == "auto" else spec.device)
        pulse = Pulse(work.options)
        state = checkpoints.load_newest(self._checkpoints, device)
        course = Course.of(state)
        for fold in range(len(course.folds), spec.split.folds or 0):
            run = self._prepare(spec, device, state, fold)
            pulse.begin(run.progress.epoch)
            for _ in training.fit(run, partial(self._between_steps, pulse=pulse, course=course)):
                pass
            course = course.after(run)
            self._reporter.report(Report("fold", fold + 1, fold + 1, course.folds[-1]))
            state = None
        run = self._prepare(spec, device, state)
        pulse.begin(run.progress.epoch)
        data = run.data
        for report in training.fit(run, partial(self._between_steps, pulse=pulse, course=course)):
            self._reporter.report(report)
        kept = keepsakes.keep(run)
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
            device,
            beside=kept.files(),
        )
        faults.reach("artifact renamed")
        return directory, manifest

    def _prepare(
        self,
        spec: TrainingSpec,
        device: torch.device,
        state: dict[str, Any] | None,
        fold: int | None = None,
    ) -> Run:
        """Return the run that is next, where `state` says it is."""
        data = self._bench.datasets.load(spec.dataset, spec.split, fold)
        faults.reach("data loaded")
        run = Run(training.build(spec, data), data, spec, device)
        if state is not None:
            run.load_state_dict(state)
        step, steps = run.progress.step, spec.epochs * training.steps_per_epoch(spec, data)
        logger.info(
            "attempt %d trains on %s, on %d rows%s, from step %d of %d",
            self._claim.attempt,
            device,
            len(data.train),
            "" if fold is None else f" without fold {fold + 1} of {spec.split.folds}",
            step,
            steps,
        )
        self._attempts.begin(self._claim, str(device), choose(run).name, step, steps)
        return run

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
    auto_device: str
    datasets: DatasetCache
    draining: threading.Event


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
        assignment.auto_device,
        DatasetCache(settings.datasets_dir, settings.dataset_cache_mb * MIB),
        draining=threading.Event(),
    )
    threading.Thread(target=_listen, args=(claims, bench.draining), daemon=True).start()
    torch.set_num_threads(assignment.threads)
    _warm_up(torch.device(bench.auto_device))
    attempts = AttemptStore(Database(settings.sqlalchemy_url), settings)
    _reply(replies, "ready")
    while True:
        claim, error = claims.get(), None
        try:
            error = Attempt(claim, attempts, bench).run()
        except LostClaim as lost:
            logger.warning("%s", lost)
        except Exception:
            # Its row cannot be written, with a full disk say: the lease will tell.
            logger.exception("attempt %d of %s could not be ended", claim.attempt, claim.job_id)
        _reply(replies, "done")
        if error and error.kind == "internal" and bench.auto_device != "cpu":
            # Most errors of a GPU stay with the process that met them.
            return


def _warm_up(device: torch.device) -> None:
    """Train and evaluate something small: what is done for the first time takes seconds."""
    spec = TrainingSpec.model_validate(
        {
            "dataset": {
                "kind": "synthetic",
                "features": {"x": {"linspace": [0, 1]}},
                "target": "x",
            },
            "epochs": 1,
        }
    )
    data = datasets.load(spec.dataset, spec.split, Path())
    run = Run(training.build(spec, data), data, spec, device)
    for _ in training.fit(run):
        pass
    keepsakes.keep(run)


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
