"""How owners share one machine: a history of jobs, played again through the real queue.

    python -m benchmarks.sharing [DATABASE_URL]

Jobs are submitted, claimed and ended by the service's own stores, on a clock that jumps from one
event to the next, so that a day takes a minute. With the URL of a service's database, its jobs are
played again: their owners, priorities, times of submission and device-seconds. Without one, a
lesson is made up.

Prints the waits of owners, beside those in order of submission, and how far the expected starts of
`GET /queue` were from the starts.
"""

import heapq
import math
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import torch
from sqlalchemy import select

from ml import datasets
from ml.artifacts import Manifest, save_model
from ml.specs import TrainingSpec
from ml.training.initial_model import build
from service.access.caller import ANYBODY, Caller, Role
from service.jobs.attempts import AttemptStore, Claim
from service.jobs.schemas import JobOptions
from service.jobs.sharing import Sharing
from service.jobs.store import JobStore
from service.settings import Settings
from service.storage.database import Database
from service.storage.tables import JobRow

LINE = {
    "dataset": {
        "kind": "synthetic",
        "features": {"x": {"linspace": [0, 10]}},
        "target": "3*x + 2",
        "size": 10,
    }
}
START = datetime(2026, 11, 2, 8, tzinfo=UTC)


@dataclass(frozen=True)
class PastJob:
    """A job of a history."""

    owner: str
    at: float
    """Seconds from the start to its submission."""
    seconds: float
    """Device-seconds that it takes."""
    kind: int = 0
    """Jobs of one kind train the same network on the same data."""
    priority: int = 0


@dataclass
class Outcome:
    """The outcome of a job."""

    job: PastJob
    id: str
    expected: float | None = None
    """Start that was expected at its submission, in seconds from the start of the history."""
    started: float = 0.0

    @property
    def wait(self) -> float:
        return self.started - self.job.at


@dataclass
class Replay:
    """Stores on a clock of their own, and a number of trainers."""

    directory: Path
    trainers: int
    fifo: bool = False
    """Whether jobs run in order of submission, as those of one owner."""
    asks_every: int = 10
    """Jobs from one question for the expected start to the next."""
    now: float = 0.0
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    closing: list[tuple[float, Outcome]] = field(default_factory=list)
    """Starts that were expected when the last job had been submitted, and the jobs."""

    def __post_init__(self) -> None:
        settings = Settings(data_dir=self.directory, trainers=0)
        self._database = Database(f"sqlite:///{self.directory}/replay.db")
        self._database.migrate()
        self._jobs = JobStore(self._database)
        self._attempts = AttemptStore(self._database, settings, self._clock)
        self._sharing = Sharing(self._database, settings, self._clock)
        self._manifest = _manifest(self.directory)
        self._ends: list[tuple[float, str, Claim]] = []

    def run(self, history: Sequence[PastJob]) -> list[Outcome]:
        """Play a history and return its jobs in the order of their starts."""
        coming = sorted(history, key=lambda job: job.at)
        place, ordered = 0, []
        while place < len(coming) or self._ends:
            ends = self._ends[0][0] if self._ends else math.inf
            self.now = min(ends, coming[place].at if place < len(coming) else ends)
            while self._ends and self._ends[0][0] <= self.now:
                self._end(heapq.heappop(self._ends)[2])
            while place < len(coming) and coming[place].at <= self.now:
                self._submit(coming[place], asks=place % self.asks_every == 0)
                place += 1
                if place == len(coming) and not self.fifo:
                    self.closing = list(self._expected())
            ordered += list(self._claims())
        self._database.close()
        return ordered

    def _submit(self, job: PastJob, asks: bool) -> None:
        caller = ANYBODY if self.fifo else Caller(Role.MEMBER, job.owner)
        spec = TrainingSpec.of(LINE | {"epochs": job.kind + 1, "name": f"model-{job.owner}"})
        submitted = self._jobs.submit(spec, JobOptions(priority=job.priority), caller=caller)
        outcome = self.outcomes[submitted.job.id] = Outcome(job, submitted.job.id)
        if asks and not self.fifo:
            outcome.expected = next((at for at, one in self._expected() if one is outcome), None)

    def _expected(self) -> Iterator[tuple[float, Outcome]]:
        """Yield the known starts of waiting jobs, in seconds from the start, and the jobs."""
        for entry in self._sharing.queue(ANYBODY, self.trainers, 1000, 0).data:
            if entry.expected_start is not None:
                at = (entry.expected_start - START).total_seconds()
                yield at, self.outcomes[entry.job]

    def _claims(self) -> Iterator[Outcome]:
        while len(self._ends) < self.trainers:
            claim = self._attempts.claim("a trainer")
            if claim is None:
                return
            outcome = self.outcomes[claim.job_id]
            outcome.started = self.now
            heapq.heappush(self._ends, (self.now + outcome.job.seconds, claim.job_id, claim))
            yield outcome

    def _end(self, claim: Claim) -> None:
        (self.directory / "models" / claim.job_id).mkdir(parents=True)
        self._attempts.heartbeat(claim)
        self._attempts.succeed(claim, self._manifest, claim.job_id)

    def _clock(self) -> datetime:
        return START + timedelta(seconds=self.now)


def _manifest(directory: Path) -> Manifest:
    spec = TrainingSpec.of(LINE)
    data = datasets.load(spec.dataset, spec.split, directory)
    model, cpu = build(spec, data), torch.device("cpu")
    return save_model(directory / "model", model, spec, data.signature, {}, "0" * 64, cpu)


def lesson(owners: int = 25, jobs: int = 40, seed: int = 0) -> list[PastJob]:
    """Return a made-up lesson: everybody submits jobs of five kinds, whose lengths vary by a fifth,
    over an hour; the first owner submits all of hers at once."""
    draw = random.Random(seed)
    lengths = (5.0, 10.0, 20.0, 40.0, 80.0)
    return [
        PastJob(
            f"pupil-{owner:02}",
            0.0 if owner == 0 else draw.uniform(0, 3600),
            lengths[kind] * draw.lognormvariate(0.0, 0.2),
            kind,
        )
        for owner in range(owners)
        for kind in (draw.randrange(len(lengths)) for _ in range(jobs))
    ]


def recorded(url: str) -> list[PastJob]:
    """Return the jobs in the database of a service."""
    database, kinds = Database(url), dict[str | None, int]()
    query = select(
        JobRow.owner, JobRow.created_at, JobRow.device_seconds, JobRow.likeness, JobRow.rank
    ).where(JobRow.device_seconds > 0)
    with database.read() as session:
        rows = session.execute(query.order_by(JobRow.seq)).all()
    database.close()
    return [
        PastJob(
            row.owner or "nobody",
            (row.created_at - rows[0].created_at).total_seconds(),
            row.device_seconds,
            kinds.setdefault(row.likeness, len(kinds)),
            -row.rank,
        )
        for row in rows
    ]


def main() -> None:
    history = recorded(sys.argv[1]) if len(sys.argv) > 1 else lesson()
    for trainers in (1, 4):
        print(
            f"{len(history):,} jobs of {len({job.owner for job in history})} owners, "
            f"{sum(job.seconds for job in history):,.0f} device-seconds, {trainers} trainers"
        )
        for name, fifo in (("in turn", False), ("in order of submission", True)):
            with tempfile.TemporaryDirectory() as directory:
                replay = Replay(Path(directory), trainers, fifo)
                outcomes = replay.run(history)
            _print_waits(name, outcomes)
            if not fifo:
                asked = [(o.expected, o) for o in outcomes if o.expected is not None]
                _print_errors("expected at submission", asked)
                _print_errors("expected when all wait", replay.closing)


def _print_waits(name: str, outcomes: Sequence[Outcome]) -> None:
    first: dict[str, tuple[float, float]] = {}
    for outcome in outcomes:
        at, started = first.get(outcome.job.owner, (math.inf, math.inf))
        first[outcome.job.owner] = min(at, outcome.job.at), min(started, outcome.started)
    firsts = [started - at for at, started in first.values()]
    waits = [outcome.wait for outcome in outcomes]
    print(
        f"  {name:24} wait for an owner's first start: median {statistics.median(firsts):,.0f} s, "
        f"worst {max(firsts):,.0f} s; wait of a job: median {statistics.median(waits):,.0f} s, "
        f"worst {max(waits):,.0f} s"
    )


def _print_errors(name: str, pairs: Sequence[tuple[float, Outcome]]) -> None:
    """Print how far expected starts were from the starts, of jobs that had to wait."""
    errors = sorted(abs(expected - outcome.started) for expected, outcome in pairs)
    shares = [
        abs(expected - outcome.started) / outcome.wait
        for expected, outcome in pairs
        if outcome.wait > 0
    ]
    if shares:
        print(
            f"  {name:24} {len(errors)} known; error: median {statistics.median(errors):,.0f} s, "
            f"90 % within {errors[len(errors) * 9 // 10]:,.0f} s; of the whole wait: median "
            f"{statistics.median(shares):.0%}"
        )


if __name__ == "__main__":
    main()
