"""A trainer process: warm, one attempt at a time.

It reads one JSON line per attempt from its standard input and answers each with one on its
standard output; when the input ends, so does it, whatever it is doing, so that no trainer outlives
the service. All else it has to say goes into the job's row.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import BinaryIO

import torch
from pydantic import BaseModel

from ml import datasets, training
from ml.artifacts import save_model
from ml.evaluation import evaluate
from ml.losses import LOSSES
from ml.training import Report, Run
from service.database import Database
from service.failures import explain
from service.jobs import Claim, JobStore, LostClaim
from service.settings import Settings

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.25


class Stopped(Exception):
    """The job is not wanted any more."""


def run_attempt(claim: Claim, jobs: JobStore, settings: Settings, auto_device: str) -> None:
    """Do one attempt at a job, and write into its row how it ended."""
    try:
        _train(claim, jobs, settings, auto_device)
    except Stopped:
        jobs.finish_cancelled(claim)
    except LostClaim:
        raise
    except Exception as error:
        logger.exception("attempt %d of %s failed", claim.attempt, claim.job_id)
        jobs.fail(claim, explain(error))


def _train(claim: Claim, jobs: JobStore, settings: Settings, auto_device: str) -> None:
    spec = jobs.fetch(claim.job_id).spec
    device = torch.device(auto_device if spec.device == "auto" else spec.device)
    data = datasets.load(spec.dataset, spec.split, settings.datasets_dir)
    model = training.build(spec, data)
    jobs.begin(claim, str(device), spec.epochs * training.steps_per_epoch(spec, data))
    run = Run(model, data, spec, device)
    with Reporter(jobs, claim) as reporter:
        for report in training.fit(run, reporter.stop_if_unwanted):
            reporter.add(report)
    metrics = {}
    if data.test is not None:
        figures = evaluate(model, data.test.to(device), data.signature, LOSSES[spec.loss])
        metrics = {f"test_{name}": figure for name, figure in figures.items()}
    directory = f"{claim.job_id}-{claim.attempt}"
    manifest = save_model(
        settings.models_dir / directory,
        model,
        spec,
        data.signature,
        metrics,
        data.fingerprint(),
        device,
    )
    jobs.succeed(claim, manifest, directory)


class Reporter:
    """Writes reports down off the training path, several in one transaction.

    While it is entered it also watches, with every write, for the wish to cancel. What went wrong
    in its thread is raised where it is left.
    """

    def __init__(self, jobs: JobStore, claim: Claim) -> None:
        self._jobs = jobs
        self._claim = claim
        self._reports: SimpleQueue[Report] = SimpleQueue()
        self._over = threading.Event()
        self._unwanted = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def add(self, report: Report) -> None:
        """Have `report` written soon."""
        self._reports.put(report)

    def stop_if_unwanted(self, run: Run) -> None:
        """Do nothing while the job is wanted.

        Raises:
            Stopped: it is not any more.
        """
        if self._unwanted.is_set():
            raise Stopped

    def __enter__(self) -> "Reporter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._over.wait(FLUSH_SECONDS):
                self._flush()
            self._flush()
        except Exception as error:
            self._error = error
            self._unwanted.set()

    def _flush(self) -> None:
        if not self._jobs.report(self._claim, list(_drain(self._reports))):
            self._unwanted.set()


def _drain(queue: "SimpleQueue[Report]") -> Iterator[Report]:
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return


class Assignment(BaseModel):
    """What a trainer process is told when it starts."""

    settings: Settings
    auto_device: str
    threads: int


def main(argument: str) -> None:
    """Serve attempts until the standard input ends."""
    replies = _claim_stdout()
    attempts: SimpleQueue[Claim] = SimpleQueue()
    assignment = Assignment.model_validate_json(argument)
    settings = assignment.settings
    torch.set_num_threads(assignment.threads)
    if assignment.auto_device != "cpu":
        torch.zeros(1, device=assignment.auto_device)  # the context takes seconds to set up
    jobs = JobStore(Database(settings.sqlalchemy_url))
    threading.Thread(target=_listen, args=(attempts,), daemon=True).start()
    _reply(replies, "ready")
    while True:
        claim = attempts.get()
        try:
            run_attempt(claim, jobs, settings, assignment.auto_device)
        except LostClaim as error:
            logger.warning("%s", error)
        _reply(replies, "done")


def _claim_stdout() -> BinaryIO:
    """Keep the standard output for replies; whatever else prints goes to the standard error."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return replies


def _listen(attempts: "SimpleQueue[Claim]") -> None:
    for line in sys.stdin:
        attempts.put(Claim(**json.loads(line)))
    os._exit(0)


def _reply(replies: BinaryIO, word: str) -> None:
    replies.write(f"{word}\n".encode())
    replies.flush()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s:     trainer: %(message)s")
    main(sys.argv[1])
