"""The `datasets` table, and the only access to it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session
from ulid import ULID

from ml.datasets.uploads import Upload, Uploads, damage_to
from ml.errors import Damaged, Invalid
from ml.files import sync
from ml.ingest import stored
from ml.ingest.options import Options
from ml.ingest.schema import Schema
from service.access.caller import ANYBODY, Caller, Role
from service.access.queries import seen
from service.datasets.from_rows import SCHEMA, dataset_of
from service.datasets.schemas import Dataset, DatasetSummary
from service.errors import Conflict, NotFound
from service.readiness import Finding
from service.schemas import Page
from service.settings import Settings
from service.settings.quotas import Quotas
from service.storage import records
from service.storage.cursors import older_than
from service.storage.damage import DamageNotes
from service.storage.database import Database
from service.storage.owned_rows import owned_by
from service.storage.records import DatasetRecord, record_of
from service.storage.stored_bytes import StoredQuotas
from service.storage.tables import DatasetRow, JobRow, ModelVersionRow
from service.storage.trash import Trash

FIRST_OPTIONS = ("encoding", "delimiter", "missing", "types", "image_size")
"""Options that count in `content_hash` even if they are not set."""
SUMMARIZED = ("id", "name", "owner", "target", "sha256", "bytes", "created_at")


@dataclass(frozen=True)
class NewDataset:
    """A parsed upload that has no row in the table yet."""

    name: str
    owner: str | None
    target: str | list[str] | None
    sha256: str
    """SHA-256 of the file."""
    bytes: int
    options: Options
    schema: Schema
    directory: Path
    """Directory of the parsed rows, on the same file system as the final one."""
    role: str = Role.ADMIN
    """Role of the sender, whose quota counts."""

    @property
    def content(self) -> str:
        """See `DatasetRow.content`."""
        return content_hash(self.sha256, self.options)


@dataclass(frozen=True)
class AddedDataset:
    """The data set of an upload, and whether the upload created it."""

    dataset: Dataset
    created: bool


class DatasetStore:
    """Adds, finds, lists and deletes uploaded data sets."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._directory = settings.uploads_dir
        self._incoming = settings.incoming_dir
        self._notes = DamageNotes.of_datasets(settings)
        self._trash = Trash(settings.trash_dir)
        self.quotas = StoredQuotas(database, Quotas(settings.quotas))

    def find_duplicate(
        self, owner: str | None, name: str, target: str | list[str] | None, content: str
    ) -> Dataset | None:
        """Return the owner's data set with this name, target and content, or None if there is none
        or its files are damaged."""
        with self._database.read() as session:
            row = _find_row(session, owner, name, target, content)
            found = None if row is None else dataset_of(row)
        return found if found and self._is_intact(found.contents, content) else None

    def add(self, dataset: NewDataset) -> AddedDataset:
        """Store a data set, or return its owner's with the same content, name and target, with its
        files replaced if they are damaged.

        Raises:
            QuotaExceeded: the quota of its owner leaves no room.
        """
        schema = self._intact_schema(dataset)
        with self._database.write() as session:
            row = _find_row(session, dataset.owner, dataset.name, dataset.target, dataset.content)
            new = row is None
            if row is None:
                self.quotas.reserve(session, dataset.owner, dataset.role, dataset.bytes)
                row = _row_of(dataset, schema or dataset.schema)
                session.add(row)
                session.flush()
            place = self._directory / dataset.content
            if schema is None or not place.exists():
                self._replace(place, dataset.directory)
                _set_schema(session, dataset)
            added = AddedDataset(dataset_of(row), new)
            sharing = session.scalars(select(DatasetRow).where(DatasetRow.content == row.content))
            rows = sharing.all()
        for one in rows:
            records.save(place, record_of(DatasetRecord, one))
        self._notes.forget(dataset.content)
        return added

    def fetch(self, dataset_id: str) -> Dataset:
        """Return a data set.

        Raises:
            NotFound: there is no data set with this id. This applies to all methods below.
        """
        with self._database.read() as session:
            row = _row(session, dataset_id)
            dataset, content = dataset_of(row), row.content
        try:
            with self.recording_damage(), damage_to(dataset_id):
                stored.check(dataset.contents, self._directory / content)
        except Damaged as damage:
            return dataset.model_copy(update={"damage": damage.brief()})
        self._notes.forget(content)
        return dataset

    @contextmanager
    def recording_damage(self) -> Iterator[None]:
        """Note every damaged data set found within the context."""
        try:
            yield
        except Damaged as damage:
            self._notes.record(damage)
            raise

    def findings(self) -> Iterator[Finding]:
        """Name the damaged files of data sets; the others are used."""
        return (Finding(damage.message) for damage in self._notes.current(self._has_content))

    def _has_content(self, content: str) -> bool:
        query = select(DatasetRow.id).where(DatasetRow.content == content).limit(1)
        with self._database.read() as session:
            return session.scalar(query) is not None

    def owner(self, dataset_id: str) -> str | None:
        """Return the owner of a data set."""
        with self._database.read() as session:
            return _row(session, dataset_id).owner

    def page(
        self,
        limit: int,
        after: str | None,
        owner: str | None = None,
        caller: Caller = ANYBODY,
    ) -> Page[DatasetSummary]:
        """Return up to `limit` data sets that `caller` may see, newest first, starting after
        `after`, which may be deleted."""
        with self._database.read() as session:
            # Without the columns, whose schemas can be large.
            query = select(
                *(getattr(DatasetRow, name) for name in SUMMARIZED),
                DatasetRow.schema["kind"].as_string().label("kind"),
                DatasetRow.schema["rows"].as_integer().label("rows"),
            )
            query = query.where(*seen(DatasetRow.owner, caller, owner))
            query = query.order_by(DatasetRow.seq.desc()).limit(limit + 1)
            if after:
                query = query.where(older_than(session, DatasetRow, after))
            found = [DatasetSummary(**row) for row in session.execute(query).mappings()]
        more = len(found) > limit
        return Page(data=found[:limit], next=found[limit - 1].id if more else None)

    def seen_by(self, caller: Caller) -> Uploads:
        """Return the lookup of the data sets that `caller` may see."""
        return _SeenDatasets(self, caller)

    def find(self, dataset_id: str, caller: Caller = ANYBODY) -> Upload:
        """Return a data set in the form that `ml` uses.

        Raises:
            Invalid: there is no data set with this id that `caller` may see.
        """
        with self._database.read() as session:
            row = session.scalar(select(DatasetRow).where(DatasetRow.id == dataset_id))
        if row is None or not caller.may_see(row.owner):
            raise Invalid(f"there is no data set {dataset_id!r}; upload it with POST /datasets")
        return Upload(
            id=row.id,
            name=row.name,
            content=row.content,
            schema=SCHEMA.validate_python(row.schema),
            target=row.target,
            directory=self._directory / row.content,
            types=row.options["types"],
        )

    def delete(self, dataset_id: str, force: bool) -> None:
        """Delete a data set, and its rows unless another data set shares them.

        Raises:
            Conflict: a job or a model uses it, and `force` is false.
        """
        with self._database.write() as session:
            row = _row(session, dataset_id)
            if not force:
                _refuse_if_in_use(session, dataset_id)
            session.delete(row)
        # After the commit. If the process is killed here, cleanup removes the orphaned rows at the
        # next start.
        records.delete(self._directory / row.content, row.id)
        self._delete_rows(row.content)

    def _intact_schema(self, dataset: NewDataset) -> Schema | None:
        """Return the schema of the rows that are stored already, unless they are damaged."""
        query = select(DatasetRow.schema).where(DatasetRow.content == dataset.content).limit(1)
        with self._database.read() as session:
            document = session.scalar(query)
        schema = dataset.schema if document is None else SCHEMA.validate_python(document)
        return schema if self._is_intact(schema, dataset.content) else None

    def _is_intact(self, schema: Schema, content: str) -> bool:
        try:
            stored.check(schema, self._directory / content, again=True)
        except Damaged:
            return False
        return True

    def _replace(self, place: Path, directory: Path) -> None:
        """Move `directory` to `place`, and what is there, which jobs may still read, away."""
        if place.exists():
            place.rename(directory.with_name("damaged"))  # deleted with the rest of the upload
        directory.rename(place)
        sync(self._directory)

    def _delete_rows(self, content: str) -> None:
        """Delete rows that no data set uses."""
        place, incoming = self._directory / content, self._incoming / str(ULID())
        with self._database.write() as session:  # blocks a concurrent `add`
            shared = select(DatasetRow.id).where(DatasetRow.content == content).limit(1)
            if session.scalar(shared) is not None or not place.exists():
                return
            if records.listed(place):
                # Data sets that this database does not know share the rows.
                self._trash.move("datasets", place)
                return
            place.rename(incoming)
        shutil.rmtree(incoming, ignore_errors=True)


@dataclass(frozen=True)
class _SeenDatasets:
    """Lookup of the data sets that a caller may see."""

    store: DatasetStore
    caller: Caller

    def find(self, dataset_id: str) -> Upload:
        return self.store.find(dataset_id, self.caller)


def content_hash(file_sha256: str, options: Options) -> str:
    """Return the hash of a file and its options: see `DatasetRow.content`."""
    # An option that an earlier version did not have counts only if it is set: a file uploaded
    # again must be found.
    unset = {
        name
        for name, field in Options.model_fields.items()
        if name not in FIRST_OPTIONS and getattr(options, name) == field.default
    }
    missing = options.missing or []
    text = options.model_copy(update={"missing": missing}).model_dump_json(exclude=unset)
    return sha256(f"{file_sha256} {text}".encode()).hexdigest()


def _set_schema(session: Session, dataset: NewDataset) -> None:
    """Describe the rows as they were read now: an earlier version may have read them otherwise."""
    schema = dataset.schema.model_dump(mode="json")
    for row in session.scalars(select(DatasetRow).where(DatasetRow.content == dataset.content)):
        if row.schema != schema:
            row.schema = schema


def _row_of(dataset: NewDataset, schema: Schema) -> DatasetRow:
    return DatasetRow(
        id=f"ds_{ULID()}",
        name=dataset.name,
        owner=dataset.owner,
        target=dataset.target,
        sha256=dataset.sha256,
        content=dataset.content,
        bytes=dataset.bytes,
        options=dataset.options.model_dump(mode="json"),
        schema=schema.model_dump(mode="json"),
        created_at=datetime.now(UTC),
    )


def _row(session: Session, dataset_id: str) -> DatasetRow:
    row = session.scalar(select(DatasetRow).where(DatasetRow.id == dataset_id))
    if row is None:
        raise NotFound(f"there is no data set {dataset_id!r}")
    return row


def _find_row(
    session: Session,
    owner: str | None,
    name: str,
    target: str | list[str] | None,
    content: str,
) -> DatasetRow | None:
    return session.scalar(
        select(DatasetRow).where(
            DatasetRow.content == content,
            DatasetRow.name == name,
            owned_by(DatasetRow.owner, owner),
            # `==` would find no row for a null.
            DatasetRow.target.is_not_distinct_from(target),
        )
    )


def _refuse_if_in_use(session: Session, dataset_id: str) -> None:
    job = session.scalar(
        select(JobRow.id)
        .where(
            JobRow.finished_at.is_(None),
            JobRow.spec["dataset"]["id"].as_string() == dataset_id,
        )
        .limit(1)
    )
    if job is not None:
        raise Conflict(f"job {job} uses this data set; cancel the job first, or set force=true")
    model = session.scalar(
        select(ModelVersionRow)
        .where(
            ModelVersionRow.deleted_at.is_(None),
            ModelVersionRow.manifest["spec"]["dataset"]["id"].as_string() == dataset_id,
        )
        .limit(1)
    )
    if model is not None:
        raise Conflict(
            f"version {model.version} of model {model.name!r} was trained on this data set; delete "
            "the version first, or set force=true"
        )
