"""Models as the API shows them, from their rows."""

from ml.artifacts import Manifest
from service.models.schemas import Lineage, ModelAlias, ModelVersion, VersionSummary
from service.storage.tables import ModelAliasRow, ModelVersionRow

# Fields of a manifest that belong to the lineage.
LINEAGE = set(Lineage.model_fields) - {"job_id"}


def alias_of(row: ModelAliasRow) -> ModelAlias:
    """Return the alias of a row."""
    return ModelAlias(
        name=row.name,
        alias=row.alias,
        version=row.version,
        updated_at=row.updated_at,
        etag=etag_of(row),
    )


def etag_of(row: ModelAliasRow) -> str:
    """Return the ETag of an alias."""
    return f'"{row.etag}"'


def version_of(row: ModelVersionRow, aliases: list[str]) -> ModelVersion:
    """Return the version of a row, to which `aliases` point."""
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


def summary_of(row: ModelVersionRow, aliases: list[str]) -> VersionSummary:
    """Return the version of a row in a list."""
    return VersionSummary(
        name=row.name,
        version=row.version,
        owner=row.owner,
        aliases=aliases,
        created_at=row.created_at,
        job_id=row.job_id,
        metrics=row.manifest["metrics"],
        parameter_count=row.manifest["parameter_count"],
    )
