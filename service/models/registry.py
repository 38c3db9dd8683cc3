"""The model registry: names, versions, aliases and artifact directories."""

import secrets
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from ml.artifacts import Manifest
from service.access.caller import ANYBODY, Caller
from service.errors import Conflict, NotFound
from service.models.from_rows import alias_of, etag_of, summary_of, version_of
from service.models.preconditions import Preconditions
from service.models.schemas import ModelAlias, ModelSummary, ModelVersion, VersionSummary
from service.schemas import Page
from service.storage.database import Database
from service.storage.shared_version import SharedVersion
from service.storage.tables import JobRow, ModelAliasRow, ModelVersionRow, UnloadedModelRow

DEFAULT = "default"
"""Alias that a bare name resolves to, if set."""


@dataclass
class Entry:
    """Versions, aliases and state of a model name."""

    directories: dict[int, str] = field(default_factory=dict)
    """Artifact directory by version, relative to the models directory; newest version last."""
    aliases: dict[str, int] = field(default_factory=dict)
    unloaded: bool = False
    owner: str | None = None
    """Owner of the first version, to whom the name belongs."""


class ModelRegistry:
    """The database's view of trained models: versions, aliases and unloaded names."""

    def __init__(
        self, database: Database, models_dir: Path, registry_version: SharedVersion
    ) -> None:
        self._database = database
        self._models_dir = models_dir
        self._registry_version = registry_version

    def snapshot(self) -> dict[str, Entry]:
        """Return all names with their versions and aliases."""
        versions = select(
            ModelVersionRow.name,
            ModelVersionRow.version,
            ModelVersionRow.directory,
            ModelVersionRow.owner,
        )
        aliases = select(ModelAliasRow.name, ModelAliasRow.alias, ModelAliasRow.version)
        entries: dict[str, Entry] = {}
        with self._database.read() as session:
            unloaded = set(session.scalars(select(UnloadedModelRow.name)))
            for name, version, directory, owner in session.execute(
                versions.where(ModelVersionRow.deleted_at.is_(None)).order_by(
                    ModelVersionRow.name, ModelVersionRow.version
                )
            ):
                entry = entries.setdefault(name, Entry(unloaded=name in unloaded, owner=owner))
                entry.directories[version] = directory
            for name, alias, version in session.execute(aliases.order_by(ModelAliasRow.alias)):
                entries[name].aliases[alias] = version
        return entries

    def owner(self, name: str) -> str | None:
        """Return the owner of a model, who trained its first version.

        Raises:
            NotFound: there is no such model.
        """
        query = (
            select(ModelVersionRow.owner)
            .where(ModelVersionRow.name == name, ModelVersionRow.deleted_at.is_(None))
            .order_by(ModelVersionRow.version)
        )
        with self._database.read() as session:
            first = session.execute(query.limit(1)).one_or_none()
        if first is None:
            raise NotFound(f"there is no model {name!r}")
        return first.owner  # type: ignore[no-any-return]

    def names(self, owner: str | None = None, caller: Caller = ANYBODY) -> list[ModelSummary]:
        """Return a summary of every model that `caller` may see, sorted by name."""
        return [
            ModelSummary(
                name=name,
                owner=entry.owner,
                latest=max(entry.directories),
                versions=list(entry.directories),
                aliases=entry.aliases,
                unloaded=entry.unloaded,
            )
            for name, entry in self.snapshot().items()
            if caller.is_for(name) and caller.may_see(entry.owner) and owner in (None, entry.owner)
        ]

    def fetch(self, name: str, version: int | None = None) -> ModelVersion:
        """Return a version of a model; by default the one the bare name resolves to.

        Raises:
            NotFound: there is no such model or version.
        """
        with self._database.read() as session:
            if version is None and (alias := session.get(ModelAliasRow, (name, DEFAULT))):
                version = alias.version
            row = _row(session, name, version)
            query = select(ModelAliasRow.alias).where(
                ModelAliasRow.name == name, ModelAliasRow.version == row.version
            )
            return version_of(row, list(session.scalars(query.order_by(ModelAliasRow.alias))))

    def versions(self, name: str, limit: int, after: int | None) -> Page[VersionSummary]:
        """Return up to `limit` versions of a model, the newest first, starting below version
        `after`.

        Raises:
            NotFound: there is no such model.
        """
        query = _of_name(name).order_by(ModelVersionRow.version.desc()).limit(limit + 1)
        if after is not None:
            query = query.where(ModelVersionRow.version < after)
        pointing: dict[int, list[str]] = {}
        with self._database.read() as session:
            _row(session, name, None)
            for alias in session.scalars(_aliases_of(name)):
                pointing.setdefault(alias.version, []).append(alias.alias)
            found = [
                summary_of(row, pointing.get(row.version, [])) for row in session.scalars(query)
            ]
        more = len(found) > limit
        return Page(data=found[:limit], next=str(found[limit - 1].version) if more else None)

    def stored(self, name: str, version: int) -> tuple[Path, str]:
        """Return the artifact directory of a version, and the SHA-256 of its weights.

        Raises:
            NotFound: there is no such version.
        """
        with self._database.read() as session:
            row = _row(session, name, version)
            return self._models_dir / row.directory, row.manifest["weights_sha256"]

    def has_directory(self, directory: str) -> bool:
        """Return whether a version has this artifact directory, relative to the models
        directory."""
        query = select(ModelVersionRow.id).where(
            ModelVersionRow.directory == directory, ModelVersionRow.deleted_at.is_(None)
        )
        with self._database.read() as session:
            return session.scalar(query.limit(1)) is not None

    def delete(self, name: str, version: int) -> None:
        """Delete a version and its files. Requests in progress are not affected.

        Raises:
            NotFound: there is no such version.
            Conflict: an alias points to it.
        """
        with self._database.write() as session:
            row = _row(session, name, version)
            query = select(ModelAliasRow.alias).where(
                ModelAliasRow.name == name, ModelAliasRow.version == version
            )
            if alias := session.scalar(query.limit(1)):
                raise Conflict(
                    f"the alias {alias!r} points to version {version} of {name!r}; point it to "
                    "another version or delete it first"
                )
            row.deleted_at = datetime.now(UTC)
            directory = row.directory
            if session.scalar(_of_name(name).limit(1)) is None:
                _forget_unloading(session, name)
        self._delete_files([directory])

    def delete_all(self, name: str, force: bool) -> None:
        """Delete a model: its versions, their files and its aliases. Requests in progress are not
        affected.

        Raises:
            NotFound: there is no such model.
            Conflict: an unfinished job will add a version, and `force` is false.
        """
        unfinished = select(JobRow.id).where(JobRow.name == name, JobRow.finished_at.is_(None))
        with self._database.write() as session:
            _row(session, name, None)
            if not force and (job := session.scalar(unfinished.limit(1))):
                raise Conflict(
                    f"job {job} will add a version to the model {name!r}; cancel the job first, or "
                    "set force=true to delete the versions that there are"
                )
            rows = list(session.scalars(_of_name(name)))
            for row in rows:
                row.deleted_at = datetime.now(UTC)
            directories = [row.directory for row in rows]
            session.execute(delete(ModelAliasRow).where(ModelAliasRow.name == name))
            _forget_unloading(session, name)
        self._delete_files(directories)

    def _delete_files(self, directories: list[str]) -> None:
        """Announce the deletion of versions, and delete their files."""
        self._registry_version.bump()
        # If the process is killed here, cleanup removes the orphaned files at the next start.
        for directory in directories:
            shutil.rmtree(self._models_dir / directory, ignore_errors=True)

    def unload(self, name: str) -> None:
        """Unload a model with all its present and future versions, until it is loaded again.

        Raises:
            NotFound: there is no such model.
        """
        with self._database.write() as session:
            _row(session, name, None)
            session.merge(UnloadedModelRow(name=name, unloaded_at=datetime.now(UTC)))
        self._registry_version.bump()

    def load(self, name: str) -> None:
        """Load the versions of an unloaded model again."""
        with self._database.write() as session:
            session.execute(delete(UnloadedModelRow).where(UnloadedModelRow.name == name))
        self._registry_version.bump()

    def aliases(self, name: str) -> list[ModelAlias]:
        """Return a model's aliases, sorted by name.

        Raises:
            NotFound: there is no such model.
        """
        with self._database.read() as session:
            _row(session, name, None)
            return [alias_of(row) for row in session.scalars(_aliases_of(name))]

    def alias(self, name: str, alias: str) -> ModelAlias:
        """Return an alias.

        Raises:
            NotFound: there is no such alias.
        """
        with self._database.read() as session:
            return alias_of(_alias_row(session, name, alias))

    def set_alias(
        self, name: str, alias: str, version: int, preconditions: Preconditions
    ) -> ModelAlias:
        """Point an alias at a version.

        Raises:
            NotFound: there is no such version.
            PreconditionFailed: a precondition does not hold.
        """
        with self._database.write() as session:
            _row(session, name, version)
            row = session.get(ModelAliasRow, (name, alias))
            preconditions.check(etag_of(row) if row else None)
            if row is None:
                row = ModelAliasRow(name=name, alias=alias)
                session.add(row)
            row.version, row.etag, row.updated_at = version, _etag(), datetime.now(UTC)
            answer = alias_of(row)
        self._registry_version.bump()
        return answer

    def delete_alias(self, name: str, alias: str, preconditions: Preconditions) -> None:
        """Delete an alias; the version it points to is kept.

        Raises:
            NotFound: there is no such alias.
            PreconditionFailed: a precondition does not hold.
        """
        with self._database.write() as session:
            row = _alias_row(session, name, alias)
            preconditions.check(etag_of(row))
            session.delete(row)
        self._registry_version.bump()


def add_version(
    session: Session,
    name: str,
    job_id: str,
    directory: str,
    manifest: Manifest,
    owner: str | None = None,
    size: int | None = None,
) -> ModelVersionRow:
    """Add the next version of `name`, with an artifact of `size` bytes, in the caller's
    transaction, and return its row."""
    newest = session.scalar(
        select(func.max(ModelVersionRow.version)).where(ModelVersionRow.name == name)
    )
    version = (newest or 0) + 1
    row = ModelVersionRow(
        name=name,
        version=version,
        job_id=job_id,
        owner=owner,
        directory=directory,
        manifest=manifest.model_dump(mode="json"),
        bytes=size,
        created_at=datetime.now(UTC),
    )
    session.add(row)
    return row


def _of_name(name: str) -> Select[ModelVersionRow]:
    return select(ModelVersionRow).where(
        ModelVersionRow.name == name, ModelVersionRow.deleted_at.is_(None)
    )


def _aliases_of(name: str) -> Select[ModelAliasRow]:
    return select(ModelAliasRow).where(ModelAliasRow.name == name).order_by(ModelAliasRow.alias)


def _forget_unloading(session: Session, name: str) -> None:
    """Keep a later model of this name from starting out unloaded."""
    session.execute(delete(UnloadedModelRow).where(UnloadedModelRow.name == name))


def _row(session: Session, name: str, version: int | None) -> ModelVersionRow:
    of_name = _of_name(name)
    query = of_name if version is None else of_name.where(ModelVersionRow.version == version)
    row = session.scalar(query.order_by(ModelVersionRow.version.desc()).limit(1))
    if row is not None:
        return row
    if version is not None and session.scalar(of_name.limit(1)):
        raise NotFound(f"model {name!r} has no version {version}")
    raise NotFound(f"there is no model {name!r}")


def _alias_row(session: Session, name: str, alias: str) -> ModelAliasRow:
    row = session.get(ModelAliasRow, (name, alias))
    if row is None:
        _row(session, name, None)
        raise NotFound(f"model {name!r} has no alias {alias!r}")
    return row


def _etag() -> str:
    return secrets.token_hex(8)
