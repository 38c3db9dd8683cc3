"""Checks of a data directory or a backup: the database, every file, and that each has the other.

A service may run meanwhile: only what is still wrong on a second look is a fault.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ml import integrity
from ml.errors import Damaged
from ml.inference.model import Model
from ml.ingest import stored
from ml.training import checkpoints
from ml.training.checkpoints import Checkpoint
from ml.training.summary import EVALUATION, TrainingSummary
from service.datasets.from_rows import SCHEMA
from service.maintenance.restore import describe
from service.maintenance.snapshot import (
    DATABASE,
    Refused,
    database_file,
    instance_of,
    reading,
    unknown,
)
from service.settings import Settings
from service.storage import records, sqlite_copy
from service.storage.artifacts import Kind, Known, on_disk, places
from service.storage.database import later_revision
from service.storage.instance import read_id
from service.storage.records import DatasetRecord, ModelRecord
from service.storage.tables import DatasetRow, ModelVersionRow

RECORDS: Mapping[Kind, type[ModelRecord] | type[DatasetRecord]] = {
    "models": ModelRecord,
    "datasets": DatasetRecord,
}
MAX_ROWS = 20
"""Maximum number of faults of the database itself that are named."""


def verify_backup(directory: Path) -> Iterator[str]:
    """Yield the faults of a backup.

    Raises:
        Refused: the directory is not a backup.
    """
    try:
        describe(directory)
    except Damaged as damaged:
        yield str(damaged)
    for fault in integrity.faults(directory):
        yield str(fault)
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and name != integrity.CHECKSUMS and not integrity.holds(directory, name):
            yield f"{path} does not belong to the backup"
    if not (directory / DATABASE).exists():
        return  # its checksum has told so
    url = f"sqlite:///{directory.absolute() / DATABASE}"
    yield from verify(Settings(data_dir=directory, database_url=url))


def verify(settings: Settings) -> Iterator[str]:
    """Yield the faults of a data directory.

    Raises:
        Refused: the database is not an SQLite file, or there is none.
    """
    file = database_file(settings)
    if not file.exists():
        raise Refused(f"there is no database {file}; set EPOCHD_DATA_DIR to the data directory")
    try:
        yield from _faults_of_database(file)
        with reading(file) as session:
            if later_revision(session.connection()) is not None:
                yield f"{file} was migrated by a newer version of epochd, which alone can verify it"
                return
            yield from _faults_of_identity(session, settings)
            artifacts = [*_models(session, settings), *_datasets(session, settings)]
        for artifact in artifacts:
            yield from _faults_of_artifact(artifact, file)
        for kind, name in unknown(file, settings):
            yield f"{places(settings)[kind] / name} has no row in the database"
    except (sqlite3.DatabaseError, SQLAlchemyError) as error:
        yield f"{file} cannot be read: {getattr(error, 'orig', None) or error}"
    for job_id in sorted(on_disk(settings.checkpoints_dir)):
        for checkpoint in checkpoints.listed(settings.checkpoints_dir / job_id):
            if not _is_intact(checkpoint):
                yield f"{checkpoint.path} is not as it was written"


@dataclass(frozen=True)
class _Artifact:
    """A model or data set that rows name."""

    kind: Kind
    directory: Path
    label: str
    read: Callable[[], object]
    """Reads it as the service does."""


def _models(session: Session, settings: Settings) -> Iterator[_Artifact]:
    columns = (ModelVersionRow.directory, ModelVersionRow.name, ModelVersionRow.version)
    query = select(*columns).where(ModelVersionRow.deleted_at.is_(None))
    for directory, name, version in session.execute(query.order_by(*columns[1:])):
        place = settings.models_dir / directory
        yield _Artifact("models", place, f"model {name}@{version}", partial(_read_model, place))


def _read_model(directory: Path) -> None:
    Model.load(directory)
    if integrity.holds(directory, EVALUATION):
        TrainingSummary.load(directory)


def _datasets(session: Session, settings: Settings) -> Iterator[_Artifact]:
    columns = (DatasetRow.content, DatasetRow.id, DatasetRow.schema)
    for content, dataset_id, schema in session.execute(select(*columns)):
        place = settings.uploads_dir / content

        def read(schema: object = schema, place: Path = place) -> None:
            stored.check(SCHEMA.validate_python(schema), place)

        yield _Artifact("datasets", place, f"data set {dataset_id}", read)


def _faults_of_artifact(artifact: _Artifact, database: Path) -> Iterator[str]:
    """Yield the faults of an artifact, unless it was deleted meanwhile."""
    found = [*_found(artifact)]
    if found:
        with reading(database) as session:
            if artifact.directory.name in Known.of(session).named(artifact.kind):
                yield from (f"{artifact.label}: {fault}" for fault in found)


def _found(artifact: _Artifact) -> Iterator[str]:
    directory = artifact.directory
    if not directory.is_dir():
        yield f"{directory} is missing"
        return
    if integrity.is_sealed(directory):
        damaged = [str(fault) for fault in integrity.faults(directory)]
        yield from damaged
        if damaged:
            return
    try:
        for path in records.listed(directory):
            records.load(path, RECORDS[artifact.kind])
        artifact.read()
    except Exception as error:
        reason = " ".join(str(error).split())
        yield reason if isinstance(error, Damaged) else f"{directory} cannot be read: {reason}"


def _is_intact(checkpoint: Checkpoint) -> bool:
    path = checkpoint.path
    try:
        integrity.read_file(path.parent, path.name, checkpoint.sha256)
    except Damaged:
        return not path.exists()  # the job has gone on
    return True


def _faults_of_database(file: Path) -> Iterator[str]:
    with closing(sqlite3.connect(sqlite_copy.read_only(file), uri=True)) as connection:
        for (line,) in connection.execute(f"PRAGMA integrity_check({MAX_ROWS})"):
            if line != "ok":
                yield f"{file}: {line}"
        broken = connection.execute("PRAGMA foreign_key_check").fetchmany(MAX_ROWS)
        for table, row, parent, _ in broken:
            yield f"{file}: row {row} of {table} refers to a row of {parent} that does not exist"


def _faults_of_identity(session: Session, settings: Settings) -> Iterator[str]:
    ours, theirs = read_id(settings.instance_file), instance_of(session)
    if theirs is not None and ours != theirs:
        yield (
            f"{settings.instance_file} holds another id than the database: they do not belong "
            "together; put the right database back, or run `epochd adopt`"
        )
