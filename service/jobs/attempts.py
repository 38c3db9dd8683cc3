"""Claim, run and end attempts: the trainers' and the scheduler's view of the job tables.

An attempt holds its job by a lease, renewed by each heartbeat. A job whose lease has expired is
reassigned. Every write of an attempt is conditional on its claim, so an attempt that wakes after
losing its lease can change nothing.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ml import faults
from ml.artifacts import Manifest
from ml.ingest.warning import DataWarning, merged
from ml.specs import TrainingSpec
from ml.strict import parse
from service.jobs import events, requested_actions, thinning, use
from service.jobs.events import NewEvent
from service.jobs.failures import LEASE_EXPIRED, TRAINER_STUCK, AttemptTimedOut, explain
from service.jobs.lease_grace import LeaseGrace
from service.jobs.preemption import victim
from service.jobs.schemas import JobError, JobOptions
from service.jobs.states import BY_USERS, EDGES, ENDED, RequestedAction, Verb
from service.jobs.transitions import end_attempt, move
from service.jobs.turns import Rules, first_in_turn
from service.models import registry
from service.schemas import ModelRef
from service.settings import Settings
from service.storage import records
from service.storage.database import Database
from service.storage.disk_space import directory_bytes
from service.storage.records import ModelRecord, record_of
from service.storage.shared_version import SharedVersion
from service.storage.tables import AttemptRow, JobRow, ModelVersionRow

MAX_RETRY_SECONDS = 60.0
OUTCOMES = {"release": "released", "preempt": "preempted"}
"""Outcomes of attempts that are not named as the action that they performed."""


class LeaseLost(Exception):
    """The attempt no longer holds the job."""


@dataclass(frozen=True)
class Claim:
    """One attempt at one job. Every write of a trainer names it."""

    job_id: str
    attempt: int


@dataclass(frozen=True)
class Work:
    """The spec and options of a claimed job, and the warnings known so far."""

    spec: TrainingSpec
    options: JobOptions
    warnings: list[DataWarning]


class AttemptStore:
    """Reads and writes of an attempt in the job tables."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._clock = clock
        self._rules = Rules.of(settings)
        self._lease = timedelta(seconds=settings.lease_seconds)
        self._grace = LeaseGrace(settings.lease_seconds, settings.lease_seconds)
        self._retry_seconds = settings.retry_seconds
        self._registry_version = SharedVersion(settings.registry_version_file)
        self._models_dir = settings.models_dir

    def claim(self, trainer: str) -> Claim | None:
        """Claim the job whose turn it is, for a new attempt by `trainer`."""
        now = self._clock()
        with self._database.write() as session:
            first = first_in_turn(session, now, self._rules)
            if first is None:
                return None
            use.correct_dates(session, now)
            claim = Claim(first[0], first[1] + 1)
            move(
                session,
                claim.job_id,
                "claim",
                ["queued"],
                details={"attempt": claim.attempt},
                attempt=claim.attempt,
                not_before=None,
                started_at=now,
                training_at=None,
                error=None,
                lease_expires_at=now + self._lease,
            )
            session.add(
                AttemptRow(
                    job_id=claim.job_id,
                    attempt=claim.attempt,
                    trainer=trainer,
                    started_at=now,
                    heartbeat_at=now,
                )
            )
            return claim

    def preempt(self) -> str | None:
        """Ask a running job to give its trainer to a waiting one, where no trainer is free; return
        its id, or None if no job needs to."""
        with self._database.read() as session:
            job = victim(session, self._clock(), self._rules)
        if job is None:
            return None
        with self._database.write() as session:
            asked = requested_actions.preempt(session, job.id, job.attempt)
        return job.id if asked else None

    def load_work(self, claim: Claim) -> Work:
        """Return the spec, options and warnings of the claimed job.

        Raises:
            LeaseLost: the claim is over; so do all methods below that take a claim.
            Invalid: the stored spec is not valid in this version.
        """
        with self._database.read() as session:
            row = _held_row(session, claim)
            return Work(
                parse(TrainingSpec, row.spec), parse(JobOptions, row.options), _warnings(row)
            )

    def mark_started(
        self,
        claim: Claim,
        device: str,
        engine: str,
        step: int,
        steps: int,
        warnings: Sequence[DataWarning] = (),
    ) -> None:
        """Record that the data is loaded, which adds `warnings`, and training starts at `step` of
        `steps`."""
        with self._database.write() as session:
            row = self._renew_lease(session, claim)
            row.device, row.engine, row.step, row.steps = device, engine, step, steps
            row.training_at, row.training_step = self._clock(), step
            attempt = session.get_one(AttemptRow, (claim.job_id, claim.attempt))
            # Of a cross-validation, every fold has a start of its own.
            attempt.training_at = attempt.training_at or row.training_at
            row.warnings = [one.model_dump() for one in merged(_warnings(row), warnings)]

    def heartbeat(
        self, claim: Claim, new_events: Sequence[NewEvent] = (), engine: str | None = None
    ) -> RequestedAction | None:
        """Renew the lease, append `new_events`, record the name of the running `engine` if given,
        and return the requested action."""
        with self._database.write() as session:
            row = self._renew_lease(session, claim)
            row.engine = engine or row.engine
            events.append(session, row.id, new_events)
            faults.reach("metrics half written")
            before = thinning.newest_reports(row)
            for new_event in new_events:
                if new_event.kind in ("step", "epoch") and new_event.step is not None:
                    row.step = new_event.step
                    row.metrics = row.metrics | new_event.metrics
                if new_event.kind == "epoch" and new_event.epoch is not None:
                    row.epoch = new_event.epoch
                    row.best_epoch = new_event.best_epoch
            for level, newest in thinning.newest_reports(row).items():
                thinning.thin(session, row, level, before[level], newest)
            return _requested_action(row)

    def requested_action(self, claim: Claim) -> RequestedAction | None:
        """Return the requested action. This only reads, so it works while others write."""
        with self._database.read() as session:
            return _requested_action(_held_row(session, claim))

    def succeed(self, claim: Claim, manifest: Manifest, directory: str) -> ModelRef | None:
        """Mark the job succeeded and register its model, in one transaction. Called again after a
        commit whose answer was lost, return the model that it registered.

        Return None, and change nothing, if an action was requested before: it was acknowledged, so
        it takes precedence.
        """
        size = directory_bytes(self._models_dir / directory)
        with self._database.write() as session:
            earlier = session.scalar(
                select(ModelVersionRow).where(
                    ModelVersionRow.job_id == claim.job_id, ModelVersionRow.directory == directory
                )
            )
            if earlier is not None:
                return ModelRef(name=earlier.name, version=earlier.version)
            row = _claimed_row(session, claim)
            if row.requested_action in BY_USERS:
                return None
            model = registry.add_version(
                session, row.name, row.id, directory, manifest, row.owner, size
            )
            row.model_version = model.version
            row.metrics = row.metrics | manifest.metrics
            row.stopped_by = manifest.stopped_by
            ref = ModelRef(name=model.name, version=model.version)
            self._end(session, row, "succeed", "succeeded", model=ref.model_dump())
            record = record_of(ModelRecord, model)
        self._registry_version.bump()
        records.save(self._models_dir / directory, record)
        return ref

    def fail(self, claim: Claim, error: JobError) -> None:
        """Mark the job failed with `error`; it is not retried automatically. A job that is being
        cancelled is cancelled; one that is being paused fails, since it would fail again."""
        with self._database.write() as session:
            row = _claimed_row(session, claim)
            if row.requested_action == "cancel":
                self._end(session, row, "cancel", error.kind)
                return
            row.error = error.model_dump()
            self._end(session, row, "fail", error.kind, error=row.error)

    def release(self, claim: Claim) -> None:
        """Give the job back between two steps: perform its requested action, or requeue it."""
        with self._database.write() as session:
            row = _claimed_row(session, claim)
            action = _requested_action(row) or "release"
            self._end(session, row, action, OUTCOMES.get(action, action))

    def record_crash(self, claim: Claim, error: JobError) -> None:
        """Record that the attempt's trainer died or cannot continue: perform the requested action,
        else requeue the job with a back-off, or fail it with `error` after its last attempt."""
        # The trainer may have died between registering its model and bumping the version.
        self._registry_version.bump()
        with self._database.write() as session:
            self._crash(session, _claimed_row(session, claim), error)

    def overdue(self, claim: Claim, timeout: timedelta) -> JobError | None:
        """Return the error of an attempt whose trainer must be killed, else None. Its lease has
        expired, or it is more than `timeout` late in performing its requested action or in ending
        at its time limit.

        This only reads: a trainer stopped within a transaction blocks all writers until it is
        killed.
        """
        now = self._clock()
        late = now - timeout
        with self._database.read() as session:
            row = _held_row(session, claim)
        limit = JobOptions.stored(row.options).timeout_seconds
        assert row.started_at is not None
        assert row.lease_expires_at is not None
        if row.lease_expires_at < now:
            return LEASE_EXPIRED
        if row.requested_at is not None and row.requested_at < late:
            return TRAINER_STUCK
        if limit is not None and row.started_at + timedelta(seconds=limit) < late:
            return explain(AttemptTimedOut(limit))
        return None

    def expire_leases(self, error: JobError, all_running: bool = False) -> int:
        """Treat every attempt whose lease has expired as crashed; return their number.

        Leases that nobody could renew, because the database was locked or the machine stood still,
        are given the time to be renewed first. `all_running` expires all leases at once: at
        startup, no trainer of the previous service is left.
        """
        query = select(JobRow).where(JobRow.status == "running")
        if not all_running:
            query = query.where(JobRow.lease_expires_at < self._clock())
        requested_at = time.time()
        try:
            with self._database.write() as session:
                if not all_running and self._grace.covers_now(requested_at):
                    return 0
                rows = session.scalars(query).all()
                for row in rows:
                    self._crash(session, row, error)
                return len(rows)
        except SQLAlchemyError:
            self._grace.begin()
            raise

    def _crash(self, session: Session, row: JobRow, error: JobError) -> None:
        options = JobOptions.stored(row.options)
        row.crashes += 1
        action = _requested_action(row)
        if action in BY_USERS:
            self._end(session, row, action, error.kind)
        elif error.kind == "timeout" or row.crashes >= options.max_attempts:
            row.error = error.model_dump()
            self._end(session, row, "fail", error.kind, error=row.error)
        else:
            self._end(session, row, "release", error.kind, message=error.message)
            wait = min(self._retry_seconds * 2.0 ** min(row.crashes - 1, 16), MAX_RETRY_SECONDS)
            row.not_before = self._clock() + timedelta(seconds=wait)

    def _renew_lease(self, session: Session, claim: Claim) -> JobRow:
        row, now = _claimed_row(session, claim), self._clock()
        row.lease_expires_at = now + self._lease
        session.execute(
            update(AttemptRow)
            .where(AttemptRow.job_id == claim.job_id, AttemptRow.attempt == claim.attempt)
            .values(heartbeat_at=now)
        )
        return row

    def _end(self, session: Session, row: JobRow, verb: Verb, outcome: str, **details: Any) -> None:
        if not end_attempt(session, row.id, row.attempt, verb, outcome, details):
            raise LeaseLost(f"attempt {row.attempt} of {row.id} is over")
        attempt = session.get_one(AttemptRow, (row.id, row.attempt))
        # While the service was down, no device was used.
        ended = min(self._clock(), attempt.heartbeat_at + self._lease)
        ends_job = EDGES[verb]["running"] in ENDED
        row.device_seconds += use.record(
            session, row.owner, attempt.started_at, ended, self._rules.half_life, ends_job
        )


def _warnings(row: JobRow) -> list[DataWarning]:
    return [DataWarning.model_validate(warning) for warning in row.warnings]


def _requested_action(row: JobRow) -> RequestedAction | None:
    return cast("RequestedAction | None", row.requested_action)


def _claimed_row(session: Session, claim: Claim) -> JobRow:
    """Return the claim's row, locked in a writing session."""
    return _held_row(session, claim, lock=True)


def _held_row(session: Session, claim: Claim, lock: bool = False) -> JobRow:
    query = select(JobRow).where(
        JobRow.id == claim.job_id, JobRow.status == "running", JobRow.attempt == claim.attempt
    )
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise LeaseLost(f"attempt {claim.attempt} of {claim.job_id} is over")
    return row
