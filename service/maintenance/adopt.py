"""Registers models and data sets that the database does not know, from what lies beside them.

The service must be stopped. Artifacts that cannot be registered go to the trash, so that afterwards
the database names everything in the data directory.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from ml import integrity
from ml.artifacts import MANIFEST, Manifest
from ml.errors import Damaged
from ml.files import sync_tree
from ml.inference.model import Model
from ml.ingest import stored
from service.datasets.from_rows import SCHEMA
from service.maintenance.snapshot import DATABASE, Refused, database_file
from service.settings import Settings
from service.storage import records, sqlite_copy
from service.storage.artifacts import Kind, Known, on_disk, places
from service.storage.database import Database
from service.storage.disk_space import directory_bytes
from service.storage.instance import Instance
from service.storage.records import DatasetRecord, ModelRecord
from service.storage.tables import DatasetRow, ModelVersionRow
from service.storage.trash import Trash


def adopt(settings: Settings, source: Path | None, dry_run: bool) -> Iterator[str]:
    """Adopt all there is, and yield a line for each. The caller holds the lock of the data
    directory.

    Raises:
        Refused: `source` has nothing to adopt, or the database cannot be copied for a dry run.
    """
    if source is not None:
        _check_source(source, settings)
    with ExitStack() as stack:
        url = settings.sqlalchemy_url
        if dry_run:
            file = database_file(settings)
            trial = Path(stack.enter_context(TemporaryDirectory())) / DATABASE
            url = f"sqlite:///{trial}"
            if file.exists():
                sqlite_copy.copy(file, trial)
        database = Database(url)
        stack.callback(database.close)
        database.migrate()
        yield from Adoption(database, settings, dry_run).run(source)


class _NotAdopted(Exception):
    """The reason why an artifact is not registered."""


@dataclass(frozen=True)
class _Candidate:
    """An artifact to be registered, and its place in the data directory."""

    source: Path
    target: Path

    def put_in_place(self) -> None:
        """Copy the artifact to its place."""
        unfinished = self.target.with_name(f".{self.target.name}.partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(self.source, unfinished)
        sync_tree(unfinished)
        unfinished.rename(self.target)


_Step = Callable[[list[_Candidate]], Iterator[str]]


class Adoption:
    """One run of `epochd adopt`."""

    def __init__(self, database: Database, settings: Settings, dry_run: bool) -> None:
        self._database = database
        self._settings = settings
        self._places = places(settings)
        self._trash = Trash(settings.trash_dir)
        self._dry_run = dry_run

    def run(self, source: Path | None = None) -> Iterator[str]:
        """Register everything in the data directory, and then in `source`; yield a line for each
        artifact.

        `source` is another data directory, a backup, or a day of the trash, which is left as it is.
        """
        yield from self._adopt_all(self._places)
        known = self._known()
        for job_id in sorted(on_disk(self._places["checkpoints"]) - set(known.jobs)):
            path = self._places["checkpoints"] / job_id
            yield self._give_up("checkpoints", path, "their job is not in the database")
        if source is not None:
            yield from self._adopt_all(_places_in(source, self._settings))
        if not self._dry_run:
            Instance(self._database, self._settings).join()
            self._settings.data_warning_file.unlink(missing_ok=True)

    def _adopt_all(self, found: Mapping[Kind, Path]) -> Iterator[str]:
        steps: dict[Kind, _Step] = {"models": self._models, "datasets": self._datasets}
        for kind, step in steps.items():
            self._places[kind].mkdir(parents=True, exist_ok=True)
            names = on_disk(found[kind])
            yield from step([_Candidate(found[kind] / n, self._places[kind] / n) for n in names])

    def _models(self, candidates: list[_Candidate]) -> Iterator[str]:
        known = self._known()
        unnamed = [c for c in candidates if c.target.name not in known.models]
        for candidate in sorted(unnamed, key=_created):
            try:
                if candidate.target.name in known.deleted_models:
                    raise _NotAdopted("this version was deleted")
                yield self._adopt_model(candidate)
            except (_NotAdopted, Damaged, OSError) as reason:
                yield self._give_up("models", candidate.source, str(reason))

    def _adopt_model(self, candidate: _Candidate) -> str:
        source = candidate.source
        manifest = _checked_model(source)
        record = _model_record(source, manifest)
        with self._database.write() as session:
            twin = session.scalar(
                select(ModelVersionRow).where(ModelVersionRow.job_id == record.job_id)
            )
            if twin is not None:
                raise _NotAdopted(f"its job has made {twin.name}@{twin.version}")
            version = _free_version(session, record)
            session.add(
                ModelVersionRow(
                    name=record.name,
                    version=version,
                    job_id=record.job_id,
                    directory=candidate.target.name,
                    manifest=manifest.model_dump(mode="json"),
                    bytes=directory_bytes(source),
                    created_at=record.created_at,
                    owner=record.owner,
                )
            )
            self._put_in_place("models", candidate, _checked_model)
        if not self._dry_run:
            adopted = replace(record, version=version)
            records.save(candidate.target, adopted)
        taken = f", as version {record.version} is taken" if version != record.version else ""
        return f"{self._verb} the model {record.name}@{version} from {source}{taken}"

    def _datasets(self, candidates: list[_Candidate]) -> Iterator[str]:
        known = self._known()
        for candidate in sorted(candidates, key=_created):
            try:
                yield from self._adopt_datasets(candidate)
            except (_NotAdopted, Damaged, OSError) as reason:
                if candidate.target.name not in known.datasets:
                    yield self._give_up("datasets", candidate.source, str(reason))

    def _adopt_datasets(self, candidate: _Candidate) -> Iterator[str]:
        """Register all data sets that share the rows in a directory."""
        source = candidate.source
        found = [records.load(path, DatasetRecord) for path in records.listed(source)]
        if not found:
            raise _NotAdopted("it holds no name and no schema")
        # In the trash, a name can have a number after a dot.
        if any(record.content != source.name.partition(".")[0] for record in found):
            raise _NotAdopted("its description is that of other rows")
        for record in sorted(found, key=lambda record: record.id):
            with self._database.write() as session:
                if _is_registered(session, record):
                    continue
                _check_dataset(source, record)
                session.add(DatasetRow(**vars(record)))
                placed = _Candidate(source, candidate.target.with_name(record.content))
                self._put_in_place("datasets", placed, partial(_check_dataset, record=record))
            yield f"{self._verb} the data set {record.name} ({record.id}) from {source}"

    def _put_in_place(
        self, kind: Kind, candidate: _Candidate, check: Callable[[Path], object]
    ) -> None:
        """Copy an intact artifact to its place, unless it is there and intact."""
        target = candidate.target
        if self._dry_run or target == candidate.source:
            return
        if target.exists():
            try:
                check(target)
                return
            except (_NotAdopted, Damaged, OSError) as fault:
                if self._trash.move(kind, target) is None:
                    raise _NotAdopted(f"its place is taken by a damaged copy: {fault}") from fault
        candidate.put_in_place()

    def _give_up(self, kind: Kind, path: Path, reason: str) -> str:
        """Move what cannot be registered to the trash, if it is in the data directory."""
        line = f"did not adopt {path}: {reason}"
        if path.parent != self._places[kind]:
            return line
        if self._dry_run:
            return f"{line}; would move it to the trash"
        moved = self._trash.move(kind, path)
        return f"{line}; moved it to {moved}" if moved else line

    @property
    def _verb(self) -> str:
        return "would adopt" if self._dry_run else "adopted"

    def _known(self) -> Known:
        with self._database.read() as session:
            return Known.of(session)


def _places_in(source: Path, settings: Settings) -> dict[Kind, Path]:
    """Return the directory of each kind in a data directory, a backup, or a day of the trash."""
    data_dir = settings.data_dir.resolve()
    within = {kind: source / p.relative_to(data_dir) for kind, p in places(settings).items()}
    return {kind: path if path.is_dir() else source / kind for kind, path in within.items()}


def _check_source(source: Path, settings: Settings) -> None:
    found = _places_in(source, settings)
    if not (on_disk(found["models"]) or on_disk(found["datasets"])):
        problem = "holds no models and no data sets" if source.is_dir() else "is not a directory"
        raise Refused(
            f"{source} {problem}; --from must be a backup, a data directory, or a day of the trash "
            "(trash/<date>), with a directory models or datasets that is not empty"
        )


def _checked_model(directory: Path) -> Manifest:
    if integrity.is_sealed(directory):
        integrity.check(directory)
    try:
        return Model.load(directory).manifest
    except Damaged:
        raise
    except Exception as error:
        raise _NotAdopted(f"it cannot be read: {error}") from error


def _model_record(directory: Path, manifest: Manifest) -> ModelRecord:
    """Return the model's record, or one made of its manifest."""
    found = records.listed(directory)
    if found:
        return records.load(found[0], ModelRecord)
    return ModelRecord(
        name=str(manifest.spec["name"]),
        version=1,
        job_id=directory.name.rpartition("-")[0],
        created_at=datetime.fromtimestamp((directory / MANIFEST).stat().st_mtime, UTC),
    )


def _free_version(session: Session, record: ModelRecord) -> int:
    """Return the record's version, or the next one of its name if it is taken."""
    of_name = select(ModelVersionRow.version).where(ModelVersionRow.name == record.name)
    taken = set(session.scalars(of_name))
    return max(taken) + 1 if record.version in taken else record.version


def _is_registered(session: Session, record: DatasetRecord) -> bool:
    same_target = (
        DatasetRow.target.is_(None) if record.target is None else DatasetRow.target == record.target
    )
    twin = (DatasetRow.content == record.content, DatasetRow.name == record.name, same_target)
    query = select(func.count()).where(or_(DatasetRow.id == record.id, and_(*twin)))
    return bool(session.scalar(query))


def _check_dataset(directory: Path, record: DatasetRecord) -> None:
    try:
        stored.check(SCHEMA.validate_python(record.schema), directory, again=True)
    except Damaged:
        raise
    except Exception as error:
        raise _NotAdopted(f"it cannot be read: {error}") from error


def _created(candidate: _Candidate) -> str:
    # The names of models begin with an id that sorts by time.
    return candidate.source.name
