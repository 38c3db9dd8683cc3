"""One attempt at a job, from its claim to its end."""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ml import devices, faults
from ml.artifacts import Manifest, save_model
from ml.datasets.cache import DatasetCache
from ml.errors import Damaged
from ml.ingest.warning import DataWarning, merged
from ml.specs import TrainingSpec
from ml.training import checkpoints, summary
from ml.training.cross_validation import FoldResults
from ml.training.engines.base import Engine
from ml.training.engines.choose import choose
from ml.training.initial_model import build
from ml.training.loop import Report, fit
from ml.training.run import Run, steps_per_epoch
from service.jobs.attempts import AttemptStore, Claim, LeaseLost, Work
from service.jobs.failures import AttemptTimedOut, device_lost, explain
from service.jobs.schemas import JobOptions
from service.jobs.thinning import Numbering
from service.settings import Settings
from service.storage.damage import DamageNotes
from service.training.reporter import LogHandler, Reporter
from service.training.retry import Result, until_done

logger = logging.getLogger(__name__)

DEVICE_FAULTS = frozenset({"internal", "out_of_memory"})
"""Kinds of errors that a faulty device can cause."""
SERVICE_FAULTS = frozenset({"internal", "storage", "trainer_died"})
"""Kinds of errors that are the operator's concern; the others are those of the job."""


@dataclass(frozen=True)
class TrainerContext:
    """State that a trainer process keeps between attempts."""

    settings: Settings
    auto_device: torch.device
    share: float
    """Share of the GPU's memory that the trainer may use."""
    datasets: DatasetCache
    draining: threading.Event
    threads: int = field(default_factory=torch.get_num_threads)
    """PyTorch threads of a job that does not choose them."""
    report_waiting: Callable[[], None] = lambda: None
    """Tells the scheduler that an attempt waits for the database."""

    def device_for(self, name: str) -> torch.device:
        """Return the device for a spec's `device`.

        Raises:
            Invalid: the GPU does not exist.
        """
        if name == "auto" or name == self.auto_device.type:
            return self.auto_device
        return devices.resolve(name)


class CheckpointTimer:
    """Tracks when a checkpoint is due and when an attempt reaches its time limit."""

    def __init__(self, options: JobOptions) -> None:
        self._options = options
        self._started_at = self._saved_at = time.monotonic()
        self._saved_epoch = 0

    def begin(self, epoch: int) -> None:
        """Count epochs since the last checkpoint from `epoch`."""
        self._saved_epoch = epoch

    def limit_reached(self) -> float | None:
        """Return the time limit in seconds if it is reached, else None."""
        limit = self._options.timeout_seconds
        over = limit is not None and time.monotonic() - self._started_at >= limit
        return limit if over else None

    def is_checkpoint_due(self, epoch: int) -> bool:
        """Return whether a checkpoint is due in `epoch`; if so, record it as saved."""
        now, epochs = time.monotonic(), epoch - self._saved_epoch
        if now - self._saved_at < self._options.checkpoint_seconds and (
            self._options.checkpoint_epochs is None or epochs < self._options.checkpoint_epochs
        ):
            return False
        self._saved_at, self._saved_epoch = now, epoch
        return True


class Trained(NamedTuple):
    """A run that has ended, and its model on disk, not yet registered."""

    run: Run
    fold_results: FoldResults
    directory: Path
    manifest: Manifest


class Attempt:
    """One attempt at a job, from its claim to its end."""

    def __init__(self, claim: Claim, attempts: AttemptStore, context: TrainerContext) -> None:
        self._claim = claim
        self._attempts = attempts
        self._settings = context.settings
        self._context = context
        self._reporter = Reporter(attempts, claim, context.report_waiting)
        self._checkpoints = context.settings.checkpoints_dir / claim.job_id
        self._warnings: list[DataWarning] = []
        """Warnings about the job from before its data is loaded."""
        self._state: dict[str, Any] | None = None
        """Checkpoint from which the next run resumes."""
        self.device = context.auto_device
        """Device of the attempt."""
        self._step = 0
        """Step that the attempt has reached, over all folds."""

    def run(self) -> None:
        """Run the attempt, write its outcome into the job's row, as soon as the database can be
        written, and log it.

        Raises:
            LeaseLost: the job was reassigned meanwhile.
        """
        began = time.monotonic()
        level, outcome = self._run()
        logger.log(
            level,
            "attempt %d ended at step %d after %.1f s: %s",
            self._claim.attempt,
            self._step,
            time.monotonic() - began,
            outcome,
        )

    def _run(self) -> tuple[int, str]:
        """Run the attempt and record its outcome; return it, and the level at which to log it."""
        try:
            work = self._until_done(lambda: self._attempts.load_work(self._claim))
            with self._reporter, _logging_to(self._reporter):
                trained = self._train(work)
            if trained is not None and (model := self._register(trained)) is not None:
                return logging.INFO, f"the job succeeded as {model}"
        except LeaseLost:
            raise
        except Exception as error:
            return self._fail(error)
        self._until_done(lambda: self._attempts.release(self._claim))
        return logging.INFO, "the job was given back, as requested"

    def _fail(self, error: Exception) -> tuple[int, str]:
        """Fail the job, or have it retried if this process's device is at fault."""
        if isinstance(error, Damaged):
            DamageNotes.of_datasets(self._settings).record(error)
        explanation = explain(error)
        if explanation.kind in DEVICE_FAULTS and not devices.is_sound(self.device):
            explanation = device_lost(error, str(self.device))
            record = self._attempts.record_crash
        else:
            record = self._attempts.fail
        if explanation.kind in SERVICE_FAULTS and explanation.traceback is not None:
            logger.error("attempt %d failed", self._claim.attempt, exc_info=error)
        self._until_done(lambda: record(self._claim, explanation))
        level = logging.ERROR if explanation.kind in SERVICE_FAULTS else logging.WARNING
        return level, f"{explanation.kind}: {' '.join(explanation.message.split())}"

    def _until_done(self, transaction: Callable[[], Result]) -> Result:
        return until_done(transaction, self._context.report_waiting)

    def _train(self, work: Work) -> Trained | None:
        """Train to the end and save the model; return None if the attempt stopped between two steps
        as requested."""
        spec, context = work.spec, self._context
        self._warnings = work.warnings
        self.device = context.device_for(spec.device)
        devices.use(self.device, context.share)
        torch.set_num_threads(work.options.threads or context.threads)
        timer = CheckpointTimer(work.options)
        self._state = checkpoints.load_newest(self._checkpoints)
        fold_results = FoldResults.from_state(self._state)
        for fold in range(len(fold_results.folds), spec.split.folds or 0):
            following = self._train_fold(spec, timer, fold_results, fold)
            if following is None:
                return None
            fold_results = following
            # Otherwise the runs of this fold and the next would be in memory together.
            devices.release_memory(self.device)
        run, engine = self._prepare(spec)
        timer.begin(run.progress.epoch)
        for report in fit(run, engine):
            if report is not None:
                self._reporter.report(report)
            elif self._should_leave(run, engine, timer, fold_results):
                return None
        return self._save_model(run, fold_results)

    def _train_fold(
        self, spec: TrainingSpec, timer: CheckpointTimer, fold_results: FoldResults, fold: int
    ) -> FoldResults | None:
        """Train without one fold and evaluate on it; return the results including it, or None if
        the attempt stopped as requested."""
        # Only the figures of a whole fold are reported.
        run, engine = self._prepare(spec.model_copy(update={"test_every": 0}), fold)
        timer.begin(run.progress.epoch)
        for report in fit(run, engine):
            if report is None and self._should_leave(run, engine, timer, fold_results):
                return None
        fold_results = fold_results.with_fold(run)
        self._reporter.report(Report("fold", fold + 1, fold + 1, fold_results.folds[-1]))
        return fold_results

    def _should_leave(
        self, run: Run, engine: Engine, timer: CheckpointTimer, fold_results: FoldResults
    ) -> bool:
        """Between two steps, check the requested action and the time limit, save a checkpoint if
        it is due, and return whether to stop.

        Raises:
            AttemptTimedOut: the attempt reached its time limit.
        """
        self._step = fold_results.steps + run.progress.step
        # The engine changes when a CUDA graph cannot be captured.
        self._reporter.engine = engine.name
        action = self._reporter.requested_action()
        if action == "cancel":
            return True
        leaves = action in ("pause", "preempt") or self._context.draining.is_set()
        limit = None if leaves else timer.limit_reached()
        # Reports from before a checkpoint are not repeated after it, so they are written first.
        if leaves or limit is not None:
            self._reporter.flush()
            self._save_state(run, fold_results)
        elif timer.is_checkpoint_due(run.progress.epoch) and self._reporter.try_flush():
            self._save_state(run, fold_results)
        if limit is not None:
            raise AttemptTimedOut(limit)
        return leaves

    def _save_model(self, run: Run, fold_results: FoldResults) -> Trained:
        self._step = fold_results.steps + run.progress.step
        if (reason := run.progress.stopped_by) is not None:
            logger.info("stopped by %s after epoch %d", reason, run.progress.epoch - 1)
        training_summary = summary.summarize(run)
        directory = self._settings.models_dir / f"{self._claim.job_id}-{self._claim.attempt}"
        manifest = save_model(
            directory,
            run.model,
            run.spec,
            run.data.signature,
            fold_results.summary() | training_summary.metrics(),
            run.data.fingerprint,
            self.device,
            targets=training_summary.metrics_by_target(),
            best_epoch=run.best_epoch,
            stopped_by=run.progress.stopped_by,
            beside=training_summary.files(),
        )
        faults.reach("artifact renamed")
        return Trained(run, fold_results, directory, manifest)

    def _prepare(self, spec: TrainingSpec, fold: int | None = None) -> tuple[Run, Engine]:
        """Return the next run, resumed from the checkpoint if there is one, and its engine."""
        data = self._context.datasets.load(spec.dataset, spec.split, fold)
        faults.reach("data loaded")
        run = Run(build(spec, data), data, spec, self.device)
        if self._state is not None:
            run.load_state_dict(self._state)
            self._state = None
        engine = choose(run, graphs=self._settings.cuda_graphs)
        step, of_an_epoch = run.progress.step, steps_per_epoch(spec, data)
        steps = spec.epochs * of_an_epoch
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
        self._reporter.numbering = Numbering(of_an_epoch, spec.report_every)
        # A fold's own are not those of the model.
        warnings = data.warnings if fold is None else []
        for warning in merged(self._warnings, warnings) if fold is None else []:
            self._reporter.log("warning", warning.message)
        self._until_done(
            lambda: self._attempts.mark_started(
                self._claim, str(self.device), engine.name, step, steps, warnings
            )
        )
        return run, engine

    def _register(self, trained: Trained) -> str | None:
        """Register the model and return its name and version. If an action was requested while the
        run ended, save the run's state instead and return None: a paused job ends when resumed."""
        directory = trained.directory
        try:
            model = self._until_done(
                lambda: self._attempts.succeed(self._claim, trained.manifest, directory.name)
            )
        except LeaseLost:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        if model is None:
            shutil.rmtree(directory, ignore_errors=True)
            self._save_state(trained.run, trained.fold_results)
            return None
        shutil.rmtree(self._checkpoints, ignore_errors=True)
        return f"{model.name}@{model.version}"

    def _save_state(self, run: Run, fold_results: FoldResults) -> None:
        checkpoints.save(
            self._checkpoints,
            self._claim.attempt,
            fold_results.steps + run.progress.step,
            run.state_dict() | fold_results.state_dict(),
            self._settings.keep_checkpoints,
        )


@contextmanager
def _logging_to(reporter: Reporter) -> Iterator[None]:
    handler = LogHandler(reporter)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
