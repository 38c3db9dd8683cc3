"""The model registry: names, versions and where their artifacts lie."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ml.artifacts import Manifest
from service.database import Database
from service.errors import NotFound
from service.schemas import Lineage, ModelRef, ModelSummary, ModelVersion
from service.tables import ModelVersionRow

# What a manifest tells of where its model comes from.
LINEAGE = set(Lineage.model_fields) - {"job_id"}


@dataclass(frozen=True)
class Located:
    """A version of a model, and the directory of its artifact below the models directory."""

    ref: ModelRef
    directory: str


class ModelRegistry:
    """Trained models, as rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def names(self) -> list[ModelSummary]:
        """Return every model with its versions, by name."""
        query = select(ModelVersionRow.name, ModelVersionRow.version).order_by(
            ModelVersionRow.name, ModelVersionRow.version
        )
        versions: dict[str, list[int]] = {}
        with self._database.read() as session:
            for name, version in session.execute(query):
                versions.setdefault(name, []).append(version)
        return [ModelSummary(name=n, latest=v[-1], versions=v) for n, v in versions.items()]

    def fetch(self, name: str, version: int | None = None) -> ModelVersion:
        """Return a version of a model, by default the newest.

        Raises:
            NotFound: there is none.
        """
        with self._database.read() as session:
            return _model_version(_row(session, name, version))

    def locate(self, name: str, version: int | None = None) -> Located:
        """Return where a version of a model lies, by default the newest.

        Raises:
            NotFound: there is none.
        """
        with self._database.read() as session:
            row = _row(session, name, version)
            return Located(ModelRef(name=row.name, version=row.version), row.directory)


def add_version(
    session: Session, name: str, job_id: str, directory: str, manifest: Manifest
) -> int:
    """Add the next version of `name` within the caller's transaction; return its number."""
    newest = session.scalar(
        select(func.max(ModelVersionRow.version)).where(ModelVersionRow.name == name)
    )
    version = (newest or 0) + 1
    session.add(
        ModelVersionRow(
            name=name,
            version=version,
            job_id=job_id,
            directory=directory,
            manifest=manifest.model_dump(mode="json"),
            created_at=datetime.now(UTC),
        )
    )
    return version


def _row(session: Session, name: str, version: int | None) -> ModelVersionRow:
    query = select(ModelVersionRow).where(ModelVersionRow.name == name)
    if version is not None:
        query = query.where(ModelVersionRow.version == version)
    row = session.scalar(query.order_by(ModelVersionRow.version.desc()).limit(1))
    if row is not None:
        return row
    if version is not None and session.scalar(
        select(ModelVersionRow.id).where(ModelVersionRow.name == name).limit(1)
    ):
        raise NotFound(f"model {name!r} has no version {version}")
    raise NotFound(f"there is no model {name!r}")


def _model_version(row: ModelVersionRow) -> ModelVersion:
    manifest = Manifest.model_validate(row.manifest)
    return ModelVersion(
        name=row.name,
        version=row.version,
        created_at=row.created_at,
        structure=manifest.structure,
        parameters=manifest.parameters,
        parameter_count=manifest.parameter_count,
        linear=manifest.linear,
        inputs=manifest.signature.inputs.model_dump(mode="json"),
        output=manifest.signature.output.model_dump(mode="json"),
        metrics=manifest.metrics,
        lineage=Lineage(job_id=row.job_id, **manifest.model_dump(include=LINEAGE)),
    )
