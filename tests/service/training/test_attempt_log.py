"""The end of an attempt is one log line; only a fault of the service has a traceback."""

import errno
import logging
import threading

import pytest
import torch

from ml.datasets.cache import DatasetCache
from ml.datasets.uploads import NO_UPLOADS
from ml.errors import DataUnavailable, Diverged, Invalid
from ml.ingest.warning import DataWarning
from ml.specs import resolve
from service.jobs.attempts import AttemptStore
from service.jobs.schemas import JobRequest
from service.jobs.store import JobStore
from service.settings import Settings
from service.training import attempt as attempt_module
from service.training.attempt import Attempt, TrainerContext
from tests.conftest import PLANE
from tests.service.conftest import claimed, submitted


def end_of(
    attempts: AttemptStore, settings: Settings, caplog: pytest.LogCaptureFixture
) -> list[logging.LogRecord]:
    """Run an attempt and return its log records from its end on."""
    for directory in (settings.models_dir, settings.checkpoints_dir, settings.datasets_dir):
        directory.mkdir(parents=True, exist_ok=True)
    cpu = torch.device("cpu")
    cache = DatasetCache(settings.datasets_dir, 1 << 20)
    context = TrainerContext(settings, cpu, 1.0, cache, draining=threading.Event())
    with caplog.at_level(logging.INFO):
        Attempt(claimed(attempts), attempts, context).run()
    return [r for r in caplog.records if "trains on" not in r.getMessage()]


def fail_training(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(attempt_module, "fit", fail)


def test_a_success_tells_steps_seconds_and_the_model(
    jobs: JobStore,
    attempts: AttemptStore,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    submitted(jobs, **PLANE | {"epochs": 2, "batch_size": 400, "split": {"folds": 2}})
    [record] = end_of(attempts, settings, caplog)
    message = record.getMessage()
    # Two folds of 1 step per epoch, then 2 of all rows.
    assert message.startswith("attempt 1 ended at step 8 after ")
    assert message.endswith(" s: the job succeeded as plane@1")
    assert record.levelno == logging.INFO


def test_each_warning_of_a_job_is_one_line_of_its_log(
    jobs: JobStore,
    attempts: AttemptStore,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    features = {"x": {"uniform": [0, 1]}, "same": {"linspace": [5, 5]}}
    dataset = {"kind": "synthetic", "features": features, "target": "x", "size": 10}
    request = JobRequest.model_validate({"dataset": dataset, "epochs": 1, "split": {"folds": 2}})
    held_out = DataWarning(column=None, kind="held_out", message="8 of 10 rows train")
    spec = resolve(request.spec, NO_UPLOADS)
    job_id = jobs.submit(spec, request.options, warnings=[held_out]).job.id
    end_of(attempts, settings, caplog)
    warnings = jobs.fetch(job_id).warnings
    assert [(one.column, one.kind) for one in warnings] == [
        (None, "held_out"),
        ("same", "constant"),
    ]
    lines = [line.message for line in jobs.logs(job_id, 100, 0).data if line.level == "warning"]
    assert lines == [one.message for one in warnings]


@pytest.mark.parametrize(
    ("error", "level", "tells"),
    [
        (Diverged("the loss\nis NaN"), logging.WARNING, "diverged: the loss is NaN"),
        (Invalid("is bad", ("dataset",)), logging.WARNING, "invalid: dataset: is bad"),
        (DataUnavailable("nowhere"), logging.WARNING, "data_unavailable: nowhere"),
        (MemoryError(), logging.WARNING, "out_of_memory: out of memory; use a smaller"),
        (OSError(errno.ENOSPC, "full"), logging.ERROR, "storage: the data directory cannot"),
    ],
)
def test_an_error_that_is_understood_is_one_line(
    error: Exception,
    level: int,
    tells: str,
    jobs: JobStore,
    attempts: AttemptStore,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail_training(monkeypatch, error)
    submitted(jobs, **PLANE)
    [record] = end_of(attempts, settings, caplog)
    assert record.levelno == level
    assert f" s: {tells}" in record.getMessage()
    assert record.exc_info is None


def test_a_fault_of_the_service_keeps_its_traceback(
    jobs: JobStore,
    attempts: AttemptStore,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail_training(monkeypatch, RuntimeError("a bug"))
    submitted(jobs, **PLANE)
    failure, end = end_of(attempts, settings, caplog)
    assert failure.exc_info
    assert (failure.levelno, end.levelno) == (logging.ERROR, logging.ERROR)
    assert end.getMessage().endswith(" s: internal: RuntimeError: a bug")
