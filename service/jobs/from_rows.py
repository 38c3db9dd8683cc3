"""Jobs as the API shows them, from their rows."""

from datetime import UTC, datetime

from ml.ingest.warning import DataWarning
from ml.training.time_budget import seconds_per_run
from service.jobs.schemas import Job, JobError, JobOptions, Progress
from service.schemas import ModelRef
from service.storage.tables import JobRow

NO_OPTIONS = JobOptions().model_dump(mode="json")
"""Defaults for jobs stored before an option was added."""


def job_of(row: JobRow) -> Job:
    """Return the job of a row."""
    return Job(
        id=row.id,
        name=row.name,
        owner=row.owner,
        status=row.status,
        requested_action=row.requested_action,
        attempt=row.attempt,
        device=row.device,
        engine=row.engine,
        best_epoch=row.best_epoch,
        stopped_by=row.stopped_by,
        progress=Progress(
            epoch=row.epoch,
            epochs=row.spec["epochs"],
            step=row.step,
            steps=row.steps,
            eta_seconds=eta_seconds(row),
        ),
        metrics=row.metrics,
        warnings=[DataWarning.model_validate(warning) for warning in row.warnings],
        error=JobError.model_validate(row.error) if row.error else None,
        model=ModelRef(name=row.name, version=row.model_version) if row.model_version else None,
        spec=row.spec,
        options=NO_OPTIONS | row.options,
        not_before=row.not_before,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def steps_per_second(row: JobRow) -> float | None:
    """Return the pace of a running job since it was last started; None before its first report."""
    done = row.step - row.training_step
    if row.status != "running" or not (done > 0 and row.training_at):
        return None
    return done / (datetime.now(UTC) - row.training_at).total_seconds()


def eta_seconds(row: JobRow) -> float | None:
    """Return the time that a running job still trains at its pace; None while that is unknown."""
    pace = steps_per_second(row)
    if not (pace and row.steps and row.training_at):
        return None
    seconds = (row.steps - row.step) / pace
    limit = seconds_per_run(row.spec.get("max_seconds"), row.spec["split"].get("folds"))
    if limit is not None:
        elapsed = (datetime.now(UTC) - row.training_at).total_seconds()
        seconds = min(seconds, max(0.0, limit - elapsed))
    return round(seconds, 1)
