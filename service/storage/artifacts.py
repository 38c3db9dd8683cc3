"""Directories of models, data sets and checkpoints: those on disk, and those that rows name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.settings import Settings
from service.storage.tables import DatasetRow, JobRow, ModelVersionRow

Kind = Literal["models", "datasets", "checkpoints"]
NOUNS: Mapping[Kind, str] = {
    "models": "model",
    "datasets": "data set",
    "checkpoints": "job with checkpoints",
}
PLURALS: Mapping[Kind, str] = {
    "models": "models",
    "datasets": "data sets",
    "checkpoints": "jobs with checkpoints",
}


def places(settings: Settings) -> dict[Kind, Path]:
    """Return the directory of each kind, which holds one subdirectory per artifact."""
    return {
        "models": settings.models_dir,
        "datasets": settings.uploads_dir,
        "checkpoints": settings.checkpoints_dir,
    }


def counted(kind: Kind, number: int, of: int | None = None) -> str:
    """Return a number of artifacts in words: `1 model`, `3 of 4 data sets`."""
    noun = (NOUNS if (of or number) == 1 else PLURALS)[kind]
    return f"{number} {noun}" if of is None else f"{number} of {of} {noun}"


def on_disk(place: Path) -> set[str]:
    """Return the names of the artifacts in a directory of a kind. Hidden ones are unfinished."""
    try:
        return {p.name for p in place.iterdir() if p.is_dir() and not p.name.startswith(".")}
    except FileNotFoundError:
        return set()


@dataclass(frozen=True)
class Known:
    """Artifacts that a database knows."""

    models: frozenset[str]
    deleted_models: frozenset[str]
    datasets: frozenset[str]
    jobs: Mapping[str, int]
    """Number of each job's latest attempt."""
    resumable: frozenset[str]
    """Jobs that can still continue from a checkpoint."""

    @classmethod
    def of(cls, session: Session) -> "Known":
        deleted = ModelVersionRow.deleted_at
        directories = select(ModelVersionRow.directory)
        jobs = session.execute(select(JobRow.id, JobRow.attempt, JobRow.status)).all()
        return cls(
            models=frozenset(session.scalars(directories.where(deleted.is_(None)))),
            deleted_models=frozenset(session.scalars(directories.where(deleted.is_not(None)))),
            datasets=frozenset(session.scalars(select(DatasetRow.content))),
            jobs={job.id: job.attempt for job in jobs},
            resumable=frozenset(job.id for job in jobs if job.status != "succeeded"),
        )

    def named(self, kind: Kind) -> frozenset[str]:
        """Return the artifacts of a kind that rows name; a job need not have checkpoints."""
        if kind == "checkpoints":
            return frozenset(self.jobs)
        return self.models if kind == "models" else self.datasets

    def is_leftover(self, kind: Kind, name: str) -> bool:
        """Return whether an artifact without a row is one that a known attempt wrote before it was
        killed, or one that was being deleted."""
        if kind != "models":
            return False
        job_id, _, attempt = name.rpartition("-")
        is_known = attempt.isdecimal() and int(attempt) <= self.jobs.get(job_id, 0)
        return is_known or name in self.deleted_models
