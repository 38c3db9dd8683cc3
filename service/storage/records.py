"""Copies of rows beside the artifacts they name, from which `epochd adopt` registers the artifacts
again when the database is lost.

A directory of an artifact holds one `<key>.row.json` for each row that names it. The file can be
replaced or removed; all others in the directory stay as they were saved.
"""

import json
import logging
from dataclasses import dataclass, fields
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import select

from ml.errors import Damaged
from ml.files import replace
from service.settings import Settings
from service.storage.database import Database
from service.storage.tables import DatasetRow, ModelVersionRow

logger = logging.getLogger(__name__)

SUFFIX = ".row.json"


@dataclass(frozen=True)
class ModelRecord:
    """The columns of a model version that its manifest does not tell."""

    name: str
    version: int
    job_id: str
    created_at: datetime
    owner: str | None = None

    @property
    def key(self) -> str:
        return self.job_id


@dataclass(frozen=True)
class DatasetRecord:
    """The columns of a data set."""

    id: str
    name: str
    target: str | list[str] | None
    sha256: str
    content: str
    bytes: int
    options: dict[str, Any]
    schema: dict[str, Any]
    created_at: datetime
    owner: str | None = None

    @property
    def key(self) -> str:
        return self.id


Record = TypeVar("Record", bound=ModelRecord | DatasetRecord)


def record_of(kind: type[Record], row: object) -> Record:
    """Return the copy of a row."""
    return kind(**{field.name: getattr(row, field.name) for field in fields(kind)})


def save(directory: Path, record: Record) -> None:
    """Write a record into the directory of its artifact. A failure is only logged: the row is what
    counts, and the next start of the service tries again."""
    row = TypeAdapter(type(record)).dump_python(record, mode="json")
    document = {"sha256": _digest(row), "row": row}
    try:
        replace(directory / f"{record.key}{SUFFIX}", json.dumps(document, indent=1).encode())
    except OSError as error:
        logger.warning("could not write %s%s into %s: %s", record.key, SUFFIX, directory, error)


def delete(directory: Path, key: str) -> None:
    """Delete a record with its row."""
    (directory / f"{key}{SUFFIX}").unlink(missing_ok=True)


def listed(directory: Path) -> list[Path]:
    """Return the files of the records in the directory of an artifact."""
    return sorted(p for p in directory.glob(f"*{SUFFIX}") if not p.name.startswith("."))


def load(path: Path, kind: type[Record]) -> Record:
    """Return the record in a file.

    Raises:
        Damaged: the file is not as it was written.
    """
    try:
        document = json.loads(path.read_bytes())
        record = TypeAdapter(kind).validate_python(document["row"])
        intact = document["sha256"] == _digest(document["row"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(path, f"cannot be read: {error}") from error
    if not intact:
        raise Damaged(path, "is not as it was written")
    return record


def save_missing(database: Database, settings: Settings) -> None:
    """Write the records that artifacts lack: those of earlier versions, and of a process that was
    killed between a row and its record."""
    with database.read() as session:
        models = session.execute(
            select(
                ModelVersionRow.directory,
                *(getattr(ModelVersionRow, field.name) for field in fields(ModelRecord)),
            ).where(ModelVersionRow.deleted_at.is_(None))
        ).all()
        datasets = session.execute(select(DatasetRow.content, DatasetRow.id)).all()
        for model in models:
            directory = settings.models_dir / model.directory
            if _lacks(directory, model.job_id):
                save(directory, record_of(ModelRecord, model))
        for content, dataset_id in datasets:
            directory = settings.uploads_dir / content
            if _lacks(directory, dataset_id):
                row = session.scalars(select(DatasetRow).where(DatasetRow.id == dataset_id)).one()
                save(directory, record_of(DatasetRecord, row))


def _lacks(directory: Path, key: str) -> bool:
    return directory.is_dir() and not (directory / f"{key}{SUFFIX}").exists()


def _digest(row: Any) -> str:
    return sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
