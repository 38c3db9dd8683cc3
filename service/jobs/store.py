"""Submit, query and control jobs: the API's view of the `jobs` table."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal, get_args

import orjson
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session
from ulid import ULID

from ml.ingest.warning import DataWarning
from ml.specs import TrainingSpec
from service.access.caller import ANYBODY, Caller
from service.access.queries import seen
from service.errors import Conflict, NotFound, Problem
from service.jobs import changes, dependencies, requested_actions
from service.jobs.events import METRICS, Kind, NewEvent, append, newest, read, read_new
from service.jobs.from_rows import job_of, steps_per_second
from service.jobs.likeness import likeness
from service.jobs.names import check_name
from service.jobs.queue_limits import QueueLimits
from service.jobs.schemas import (
    Attempt,
    Event,
    Job,
    JobChange,
    JobOptions,
    LogRecord,
    MetricRecord,
)
from service.jobs.states import EDGES, ENDED, Status, Verb
from service.jobs.thinning import evenly_spaced
from service.jobs.transitions import fail_dependents, move
from service.schemas import Page
from service.storage.cursors import older_than
from service.storage.database import Database
from service.storage.tables import AttemptRow, JobRow


@dataclass(frozen=True)
class Submitted:
    """The job of a request, and whether an earlier request with the same key created it."""

    job: Job
    replayed: bool


@dataclass(frozen=True)
class EventPage:
    """A page of a job's events; `over` marks the last page of an ended job."""

    events: list[Event]
    over: bool


class JobStore:
    """Jobs, their attempts and their events."""

    def __init__(self, database: Database, limits: QueueLimits | None = None) -> None:
        self._database = database
        self._limits = limits or QueueLimits()

    def counts(self) -> dict[str, float]:
        """Return the number of jobs in each status."""
        query = select(JobRow.status, func.count()).group_by(JobRow.status)
        with self._database.read() as session:
            return dict.fromkeys(get_args(Status), 0.0) | {
                status: float(count) for status, count in session.execute(query)
            }

    def steps_per_second(self) -> float:
        """Return the sum of the rates of all running jobs."""
        with self._database.read() as session:
            rows = session.scalars(select(JobRow).where(JobRow.status == "running"))
            return sum(steps_per_second(row) or 0.0 for row in rows)

    def submit(
        self,
        spec: TrainingSpec,
        options: JobOptions,
        idempotency_key: str | None = None,
        refusal: Problem | None = None,
        warnings: Sequence[DataWarning] = (),
        caller: Caller = ANYBODY,
    ) -> Submitted:
        """Queue a job of `caller` and commit it, with `warnings` about it. With an idempotency key
        that the same owner used before, return the job created then.

        Raises:
            Conflict: the idempotency key was used before for a different request, the name is
                that of somebody else's model, or a job in `after` did not succeed.
            Unprocessable: a job in `after` does not exist.
            QueueFull, QuotaExceeded: the queue is full, or a quota of the owner.
            Problem: `refusal`, if given; no new job is accepted.
        """
        stored_key = scoped_key(idempotency_key, caller.owner)
        row = JobRow(
            name=spec.name,
            owner=caller.owner,
            role=caller.role,
            spec=spec.model_dump(mode="json"),
            options=options.model_dump(mode="json"),
            rank=-options.priority,
            standing=-options.priority if caller.is_admin else 0,
            idempotency_key=stored_key,
            status="queued",
            not_before=options.not_before,
            warnings=[warning.model_dump() for warning in warnings],
            created_at=datetime.now(UTC),
        )
        row.likeness = likeness(row.spec)
        row.request_sha256 = sha256(orjson.dumps(row.options | row.spec)).hexdigest()
        with self._database.write() as session:
            if stored_key is not None:
                earlier = session.scalar(select(JobRow).where(JobRow.idempotency_key == stored_key))
                if earlier is not None:
                    if earlier.request_sha256 != row.request_sha256:
                        raise Conflict(
                            f"the Idempotency-Key {idempotency_key!r} was used before for a "
                            f"different request (job {earlier.id}); use a new key for a new "
                            "request"
                        )
                    return Submitted(job_of(earlier), replayed=True)
            if refusal is not None:
                raise refusal
            check_name(session, row.name, caller)
            waits_for = dependencies.unfinished(session, options.after, caller)
            row.waits_for = len(waits_for)
            self._limits.check_stored(session, row.owner, row.role)
            self._limits.check(session, row.owner, row.role)
            row.id = f"job_{ULID()}"  # here, so that ids have the order of the numbers
            session.add(row)
            session.flush()
            dependencies.add(session, row.id, waits_for)
            append(session, row.id, [NewEvent("status", {"status": "queued"})])
        return Submitted(job_of(row), replayed=False)

    def owner(self, job_id: str) -> str | None:
        """Return the owner of a job.

        Raises:
            NotFound: no job has this id.
        """
        with self._database.read() as session:
            return _row(session, job_id).owner

    def fetch(self, job_id: str) -> Job:
        """Return the job.

        Raises:
            NotFound: no job has this id; so do all methods below.
        """
        with self._database.read() as session:
            return job_of(_row(session, job_id))

    def page(
        self,
        status: Collection[Status],
        name: str | None,
        limit: int,
        after: str | None,
        owner: str | None = None,
        caller: Caller = ANYBODY,
    ) -> Page[Job]:
        """Return up to `limit` jobs that `caller` may see, of any of the given statuses, if any is
        given: the newest first, starting after job `after`, which may be deleted."""
        with self._database.read() as session:
            query = select(JobRow).order_by(JobRow.seq.desc()).limit(limit + 1)
            if status:
                query = query.where(JobRow.status.in_(status))
            if name:
                query = query.where(JobRow.name == name)
            query = query.where(*seen(JobRow.owner, caller, owner))
            if after:
                query = query.where(older_than(session, JobRow, after))
            jobs = [job_of(row) for row in session.scalars(query)]
        more = len(jobs) > limit
        return Page(data=jobs[:limit], next=jobs[limit - 1].id if more else None)

    def attempts(self, job_id: str) -> list[Attempt]:
        """Return the job's attempts, the oldest first."""
        with self._database.read() as session:
            _row(session, job_id)
            rows = session.scalars(
                select(AttemptRow).where(AttemptRow.job_id == job_id).order_by(AttemptRow.attempt)
            )
            return [Attempt.model_validate(row, from_attributes=True) for row in rows]

    def events(self, job_id: str, after: int, limit: int) -> EventPage:
        """Return up to `limit` events of the job, the oldest first, with ids above `after`."""
        with self._database.read() as session:
            status = _row(session, job_id).status
            events = read(session, job_id, after, limit)
        return EventPage(events, over=status in ENDED and len(events) < limit)

    def new_events(self, positions: Mapping[str, int], limit: int) -> dict[str, list[Event]]:
        """Return up to `limit` events, by job: of each job in `positions`, those with ids above its
        position, the oldest first."""
        with self._database.read() as session:
            return read_new(session, positions, limit)

    def deleted(self, job_ids: Collection[str]) -> set[str]:
        """Return those of `job_ids` that no longer exist."""
        with self._database.read() as session:
            query = select(JobRow.id).where(JobRow.id.in_(job_ids))
            return set(job_ids) - set(session.scalars(query))

    def metrics(self, job_id: str, level: str | None, limit: int, after: int) -> Page[MetricRecord]:
        """Return up to `limit` metric reports, the oldest first, with ids above `after`."""
        kinds = tuple(kind for kind in METRICS if level in (kind, None))
        events, following = self._page_of_events(job_id, limit, after, kinds)
        return Page(data=[MetricRecord.of(event) for event in events], next=following)

    def metric_series(
        self, job_id: str, level: Literal["epoch", "step"], most: int
    ) -> list[MetricRecord]:
        """Return up to `most` of the job's reports at a level, evenly spaced over its history,
        including the first and the last."""
        with self._database.read() as session:
            events = evenly_spaced(session, _row(session, job_id), level, most)
        return [MetricRecord.of(event) for event in events]

    def logs(self, job_id: str, limit: int, after: int) -> Page[LogRecord]:
        """Return up to `limit` lines of the log, the oldest first, with ids above `after`."""
        events, following = self._page_of_events(job_id, limit, after, ("log",))
        return Page(data=[LogRecord.of(event) for event in events], next=following)

    def last_event(self, job_id: str) -> int:
        """Return the id of the job's newest event."""
        with self._database.read() as session:
            _row(session, job_id)
            return newest(session, job_id)

    def change(self, job_id: str, wanted: JobChange, caller: Caller = ANYBODY) -> Job:
        """Change the name or the priority of a job.

        Raises:
            Conflict: the job's status does not allow it, or the name is that of somebody else's
                model.
        """
        with self._database.write() as session:
            return job_of(changes.change(session, job_id, wanted, caller))

    def cancel(self, job_id: str) -> Job:
        """Cancel a queued or paused job at once; ask a running one to stop between two steps.

        Raises:
            Conflict: the job's status does not allow it; so do the three methods below.
        """
        return self._change_status(job_id, "cancel", requested_actions.cancel)

    def pause(self, job_id: str) -> Job:
        """Take a queued job out of the queue; ask a running one to save a checkpoint and stop."""
        return self._change_status(job_id, "pause", requested_actions.pause)

    def resume(self, job_id: str) -> Job:
        """Requeue a paused job; take back the pause of a running one.

        Raises:
            QueueFull, QuotaExceeded: the queue is full, or a quota of the owner; so does `retry`.
        """
        return self._change_status(job_id, "resume", requested_actions.withdraw_pause)

    def retry(self, job_id: str, caller: Caller = ANYBODY) -> Job:
        """Requeue a failed or cancelled job at its last checkpoint, with its crash count reset.

        Raises:
            Forbidden: the caller's key is for other models.
            Conflict: also if the name now is that of somebody else's model, or a job that must
                succeed before has failed, was cancelled or was deleted.
        """

        def check(session: Session) -> None:
            check_name(session, _row(session, job_id).name, caller)
            dependencies.check_again(session, job_id)

        return self._change_status(job_id, "retry", check=check, crashes=0, not_before=None)

    def delete(self, job_id: str) -> None:
        """Delete a job that is not running, with its attempts and events but not its model.

        Raises:
            Conflict: the job is running.
        """
        with self._database.write() as session:
            deleted = session.scalar(
                delete(JobRow)
                .where(JobRow.id == job_id, JobRow.status != "running")
                .returning(JobRow.id)
            )
            if deleted is None:
                _row(session, job_id)
                raise Conflict(f"job {job_id} is running; cancel it first")
            fail_dependents(session, job_id, "was deleted")

    def _page_of_events(
        self, job_id: str, limit: int, after: int, kinds: Sequence[Kind]
    ) -> tuple[list[Event], str | None]:
        """Return a page of the job's events of the given kinds, and the cursor of the next page."""
        with self._database.read() as session:
            _row(session, job_id)
            events = read(session, job_id, after, limit + 1, kinds)
        page = events[:limit]
        return page, str(page[-1].id) if len(events) > limit else None

    def _change_status(
        self,
        job_id: str,
        verb: Verb,
        of_running: Callable[[Session, str], bool] | None = None,
        check: Callable[[Session], None] | None = None,
        **values: Any,
    ) -> Job:
        """Move a waiting or ended job along `verb`'s edge at once. `of_running` records what `verb`
        asks of a running job, and returns whether it could. `check` raises an error if the job may
        not move, in the same transaction, so that nobody takes its name in between."""
        sources = [status for status in EDGES[verb] if status != "running"]
        with self._database.write() as session:
            if check is not None:
                check(session)
            moved = move(session, job_id, verb, sources, **values)
            if not moved and not (of_running and of_running(session, job_id)):
                row = _row(session, job_id)
                ending = " and being cancelled" if row.requested_action == "cancel" else ""
                raise Conflict(
                    f"job {job_id} is {row.status}{ending}; {verb} requires a "
                    f"{' or '.join(EDGES[verb])} job"
                )
            session.expire_all()
            row = _row(session, job_id)
            if moved and verb in ("resume", "retry"):
                self._limits.check(session, row.owner, row.role, own=1)
            return job_of(row)


def scoped_key(idempotency_key: str | None, owner: str | None) -> str | None:
    """Return the stored form of an idempotency key, which is another for every owner."""
    if idempotency_key is None or owner is None:
        return idempotency_key
    return f"{owner}:{sha256(idempotency_key.encode()).hexdigest()}"


def _row(session: Session, job_id: str) -> JobRow:
    row = session.scalar(select(JobRow).where(JobRow.id == job_id))
    if row is None:
        raise NotFound(f"there is no job {job_id!r}")
    return row
