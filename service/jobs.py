"""The job store: the only room that speaks to the job and metric tables.

    queued --claim--> running --succeed--> succeeded
      |                 |------fail------> failed
      |                 |-----cancel-----> cancelled
      |                 '----requeue-----> queued
      '---cancel--> cancelled

Every step is one conditional UPDATE. Those of a running job name the attempt that takes them, so
that an attempt which is not the job's any more can change nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Update, delete, select, update
from sqlalchemy.orm import Session
from ulid import ULID

from ml.artifacts import Manifest
from ml.specs import TrainingSpec
from ml.training import Report
from service import registry
from service.database import Database
from service.errors import Conflict, NotFound
from service.schemas import Job, JobError, MetricRecord, ModelRef, Page, Progress, Status
from service.tables import JobRow, MetricRow


class LostClaim(Exception):
    """The job is not this attempt's any more."""


@dataclass(frozen=True)
class Claim:
    """One attempt at one job: what a trainer is handed, and must name in all it writes."""

    job_id: str
    attempt: int


class JobStore:
    """Jobs and their metrics, as rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # What callers of the service ask.

    def submit(self, spec: TrainingSpec) -> Job:
        """Queue a job; it exists once this returns."""
        row = JobRow(
            id=f"job_{ULID()}",
            name=spec.name,
            spec=spec.model_dump(mode="json"),
            status="queued",
            created_at=_now(),
        )
        with self._database.write() as session:
            session.add(row)
        return _job(row)

    def fetch(self, job_id: str) -> Job:
        """Return the job.

        Raises:
            NotFound: there is none of this id.
        """
        with self._database.read() as session:
            return _job(_row(session, job_id))

    def page(
        self, status: Status | None, name: str | None, limit: int, after: str | None
    ) -> Page[Job]:
        """Return up to `limit` jobs, the newest first, from the one that follows job `after`.

        Raises:
            NotFound: there is no job `after`.
        """
        with self._database.read() as session:
            query = select(JobRow).order_by(JobRow.seq.desc()).limit(limit + 1)
            if status:
                query = query.where(JobRow.status == status)
            if name:
                query = query.where(JobRow.name == name)
            if after:
                query = query.where(JobRow.seq < _row(session, after).seq)
            jobs = [_job(row) for row in session.scalars(query)]
        more = len(jobs) > limit
        return Page(data=jobs[:limit], next=jobs[limit - 1].id if more else None)

    def metrics(self, job_id: str, level: str | None, limit: int, after: int) -> Page[MetricRecord]:
        """Return up to `limit` reports of the job, the oldest first, with ids above `after`.

        Raises:
            NotFound: there is no such job.
        """
        with self._database.read() as session:
            _row(session, job_id)
            query = (
                select(MetricRow)
                .where(MetricRow.job_id == job_id, MetricRow.id > after)
                .order_by(MetricRow.id)
                .limit(limit + 1)
            )
            if level:
                query = query.where(MetricRow.level == level)
            records = [_metric(row) for row in session.scalars(query)]
        more = len(records) > limit
        return Page(data=records[:limit], next=str(records[limit - 1].id) if more else None)

    def cancel(self, job_id: str) -> Job:
        """Cancel a queued job at once; ask a running one to stop before its next step.

        Raises:
            NotFound: there is no such job.
            Conflict: it has ended.
        """
        with self._database.write() as session:
            ended = _update(job_id, "queued").values(status="cancelled", finished_at=_now())
            asked = _update(job_id, "running").values(cancel_requested=True)
            if not (_changed(session, ended) or _changed(session, asked)):
                state = _row(session, job_id).status
                raise Conflict(
                    f"job {job_id} is {state}; only a queued or running one can be cancelled"
                )
            return _job(_row(session, job_id))

    # What the scheduler and the trainers ask.

    def claim(self) -> Claim | None:
        """Take the job that waits longest, if one does, for a new attempt."""
        oldest = (
            select(JobRow.id)
            .where(JobRow.status == "queued")
            .order_by(JobRow.seq)
            .limit(1)
            .scalar_subquery()
        )
        with self._database.write() as session:
            row = session.execute(
                update(JobRow)
                .where(JobRow.id == oldest)
                .values(
                    status="running",
                    attempt=JobRow.attempt + 1,
                    cancel_requested=False,
                    started_at=_now(),
                    epoch=0,
                    step=0,
                    metrics={},
                )
                .returning(JobRow.id, JobRow.attempt)
            ).one_or_none()
        return Claim(*row) if row else None

    def begin(self, claim: Claim, device: str, steps: int) -> None:
        """Note that the claim's data is loaded and its first step begins.

        Raises:
            LostClaim: as every method below.
        """
        with self._database.write() as session:
            _take(session, claim, device=device, steps=steps, training_at=_now())

    def report(self, claim: Claim, reports: Sequence[Report]) -> bool:
        """Write down `reports`; return whether the job is wanted any longer."""
        with self._database.write() as session:
            row = _mine(session, claim)
            now = _now()
            for report in reports:
                session.add(
                    MetricRow(
                        job_id=row.id,
                        level=report.level,
                        epoch=report.epoch,
                        step=report.step,
                        values=report.values,
                        created_at=now,
                    )
                )
                row.step = report.step
                row.metrics = row.metrics | report.values
                if report.level == "epoch":
                    row.epoch = report.epoch
            return not row.cancel_requested

    def succeed(self, claim: Claim, manifest: Manifest, directory: str) -> ModelRef:
        """End the job well and register its model, in one transaction."""
        with self._database.write() as session:
            row = _mine(session, claim)
            version = registry.add_version(session, row.name, claim.job_id, directory, manifest)
            row.status, row.finished_at = "succeeded", _now()
            row.model_version = version
            row.metrics = row.metrics | manifest.metrics
            return ModelRef(name=row.name, version=version)

    def fail(self, claim: Claim, error: JobError) -> None:
        """End the job with what went wrong."""
        with self._database.write() as session:
            _take(session, claim, status="failed", error=error.model_dump(), finished_at=_now())

    def finish_cancelled(self, claim: Claim) -> None:
        """End the job as its caller wished."""
        with self._database.write() as session:
            _take(session, claim, status="cancelled", finished_at=_now())

    def requeue_running(self) -> int:
        """Put every running job back into the queue; return how many.

        For a service that starts or stops, when no trainer is left to finish them. What those
        attempts have measured goes: the next one starts afresh.
        """
        with self._database.write() as session:
            rows = session.scalars(select(JobRow).where(JobRow.status == "running")).all()
            for row in rows:
                row.status = "cancelled" if row.cancel_requested else "queued"
                row.finished_at = _now() if row.cancel_requested else None
                session.execute(delete(MetricRow).where(MetricRow.job_id == row.id))
            return len(rows)


def _now() -> datetime:
    return datetime.now(UTC)


def _row(session: Session, job_id: str) -> JobRow:
    row = session.scalar(select(JobRow).where(JobRow.id == job_id))
    if row is None:
        raise NotFound(f"there is no job {job_id!r}")
    return row


def _update(job_id: str, status: Status) -> Update:
    return update(JobRow).where(JobRow.id == job_id, JobRow.status == status)


def _changed(session: Session, statement: Update) -> bool:
    return session.execute(statement.returning(JobRow.id)).one_or_none() is not None


def _take(session: Session, claim: Claim, **values: Any) -> None:
    statement = _update(claim.job_id, "running").where(JobRow.attempt == claim.attempt)
    if not _changed(session, statement.values(**values)):
        raise LostClaim(f"attempt {claim.attempt} of {claim.job_id} is over")


def _mine(session: Session, claim: Claim) -> JobRow:
    """Return the claim's row, which no other writer can change before this session commits."""
    row = session.scalar(
        select(JobRow)
        .where(
            JobRow.id == claim.job_id, JobRow.status == "running", JobRow.attempt == claim.attempt
        )
        .with_for_update()
    )
    if row is None:
        raise LostClaim(f"attempt {claim.attempt} of {claim.job_id} is over")
    return row


def _job(row: JobRow) -> Job:
    spec = TrainingSpec.model_validate(row.spec)
    return Job(
        id=row.id,
        name=row.name,
        status=row.status,
        attempt=row.attempt,
        cancel_requested=row.cancel_requested,
        device=row.device,
        progress=Progress(
            epoch=row.epoch,
            epochs=spec.epochs,
            step=row.step,
            steps=row.steps,
            eta_seconds=_eta(row),
        ),
        metrics=row.metrics,
        error=JobError.model_validate(row.error) if row.error else None,
        model=ModelRef(name=row.name, version=row.model_version) if row.model_version else None,
        spec=spec,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def _eta(row: JobRow) -> float | None:
    if row.status != "running" or not (row.step and row.steps and row.training_at):
        return None
    seconds_per_step = (_now() - row.training_at).total_seconds() / row.step
    return round(seconds_per_step * (row.steps - row.step), 1)


def _metric(row: MetricRow) -> MetricRecord:
    return MetricRecord(
        id=row.id,
        level=row.level,
        epoch=row.epoch,
        step=row.step,
        values=row.values,
        created_at=row.created_at,
    )
