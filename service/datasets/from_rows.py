"""Data sets as the API shows them, from their rows."""

from pydantic import TypeAdapter

from ml.ingest.options import Options
from ml.ingest.schema import Schema
from service.datasets.schemas import Dataset
from service.storage.tables import DatasetRow

SCHEMA: TypeAdapter[Schema] = TypeAdapter(Schema)


def dataset_of(row: DatasetRow) -> Dataset:
    """Return the data set of a row."""
    schema = SCHEMA.validate_python(row.schema)
    return Dataset(
        id=row.id,
        name=row.name,
        owner=row.owner,
        target=row.target,
        sha256=row.sha256,
        bytes=row.bytes,
        options=Options.model_validate(row.options),
        contents=schema,
        warnings=schema.warnings,
        created_at=row.created_at,
    )
