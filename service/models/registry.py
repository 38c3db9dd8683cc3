"""The model registry: names, versions, aliases and artifact directories."""

import secrets
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from ml.artifacts import Manifest
from service.access.caller import ANYBODY, Caller
from service.errors import Conflict, NotFound, PreconditionFailed
from service.models.schemas import Lineage, ModelAlias, ModelSummary, ModelVersion
from service.storage.database import Database
from service.storage.shared_version import SharedVersion
from service.storage.tables import ModelAliasRow, ModelVersionRow, UnloadedModelRow

# Fields of a manifest that belong to the lineage.
LINEAGE = set(Lineage.model_fields) - {"job_id"}
DEFAULT = "default"
"""Alias that a bare name resolves to, if set."""


@dataclass(frozen=True)
class Preconditions:
    """The headers `If-Match` and `If-None-Match` of a request for an alias."""

    match: str | None = None
    none_match: str | None = None


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
            return _model_version(row, list(session.scalars(query.order_by(ModelAliasRow.alias))))

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
            others = select(ModelVersionRow.id).where(
                ModelVersionRow.name == name, ModelVersionRow.deleted_at.is_(None)
            )
            if session.scalar(others.limit(1)) is None:
                # A later model of this name must not start out unloaded.
                session.execute(delete(UnloadedModelRow).where(UnloadedModelRow.name == name))
        self._registry_version.bump()
        # If the process is killed here, cleanup removes the orphaned files at the next start.
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
            query = select(ModelAliasRow).where(ModelAliasRow.name == name)
            return [_alias(row) for row in session.scalars(query.order_by(ModelAliasRow.alias))]

    def alias(self, name: str, alias: str) -> ModelAlias:
        """Return an alias.

        Raises:
            NotFound: there is no such alias.
        """
        with self._database.read() as session:
            return _alias(_alias_row(session, name, alias))

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
            _check(row, preconditions)
            if row is None:
                row = ModelAliasRow(name=name, alias=alias)
                session.add(row)
            row.version, row.etag, row.updated_at = version, _etag(), datetime.now(UTC)
            answer = _alias(row)
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
            _check(row, preconditions)
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


def _row(session: Session, name: str, version: int | None) -> ModelVersionRow:
    of_name = select(ModelVersionRow).where(
        ModelVersionRow.name == name, ModelVersionRow.deleted_at.is_(None)
    )
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


def _check(row: ModelAliasRow | None, wanted: Preconditions) -> None:
    """See RFC 9110, sections 13.1.1 and 13.1.2."""
    etag = f'"{row.etag}"' if row else None
    if wanted.match is not None and not _among(etag, wanted.match):
        raise PreconditionFailed(
            f"the alias {'has the ETag ' + etag if etag else 'does not exist'}; If-Match requires "
            f"{wanted.match}"
        )
    if wanted.none_match is not None and _among(etag, wanted.none_match):
        raise PreconditionFailed(
            f"the alias has the ETag {etag}; If-None-Match excludes {wanted.none_match}"
        )


def _among(etag: str | None, listed: str) -> bool:
    if etag is None:
        return False
    return listed.strip() == "*" or etag in (one.strip() for one in listed.split(","))


def _etag() -> str:
    return secrets.token_hex(8)


def _alias(row: ModelAliasRow) -> ModelAlias:
    return ModelAlias(
        name=row.name,
        alias=row.alias,
        version=row.version,
        updated_at=row.updated_at,
        etag=f'"{row.etag}"',
    )


def _model_version(row: ModelVersionRow, aliases: list[str]) -> ModelVersion:
    manifest = Manifest.model_validate(row.manifest)
    return ModelVersion(
        name=row.name,
        version=row.version,
        owner=row.owner,
        aliases=aliases,
        created_at=row.created_at,
        structure=manifest.structure,
        parameters=manifest.parameters,
        parameter_count=manifest.parameter_count,
        linear=manifest.linear,
        inputs=manifest.signature.inputs.model_dump(mode="json"),
        output=manifest.signature.output.model_dump(mode="json"),
        best_epoch=manifest.best_epoch,
        stopped_by=manifest.stopped_by,
        metrics=manifest.metrics,
        targets=manifest.targets,
        lineage=Lineage(job_id=row.job_id, **manifest.model_dump(include=LINEAGE)),
    )
