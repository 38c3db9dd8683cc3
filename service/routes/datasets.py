"""Routes for uploaded data sets."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from math import prod
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from torch import Tensor

from ml.datasets.batches import batches
from ml.datasets.targets import Several
from ml.datasets.uploads import Upload, UploadRequest, damage_to
from ml.errors import Damaged, DataUnavailable, Invalid
from ml.ingest.preview import preview
from ml.signature import Classes, Features
from service.datasets.memory import check_size
from service.datasets.schemas import (
    Batch,
    Batches,
    Dataset,
    DatasetSummary,
    Preview,
    TensorPeek,
    UploadQuery,
)
from service.errors import (
    Conflict,
    FilesDamaged,
    InsufficientStorage,
    NotFound,
    Overloaded,
    QuotaExceeded,
    Unprocessable,
)
from service.http.problem_json import problems
from service.routes.dependencies import WRITES, AppComponents, Components, CurrentCaller
from service.routes.parameters import DatasetCursor, DatasetId, Limit, Owner
from service.schemas import Page, named
from service.work.executors import run_in

router = APIRouter(prefix="/datasets", tags=["datasets"])

Force = Annotated[bool, Query(description="Whether to delete it even if a job or a model uses it.")]
MAX_NUMBERS = 100_000
"""Maximum number of input values in a response with batches."""
NOT_SHOWN: dict[str, Any] = {"contents": {"warnings": True, "columns": {"__all__": {"written"}}}}
"""Parts of a stored schema: the warnings are shown beside it, and the texts behind every number of
a column would hide its statistics."""
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
TABLE = "x,y\n1,5\n2,8\n3,11\n"
PARAMETERS = named(UploadQuery)
FORM = PARAMETERS | {
    "title": "UploadForm",
    "description": "A file, and the parameters of the query.",
    "properties": {"file": BINARY["schema"]} | PARAMETERS["properties"],
    "required": ["file"],
}
BODY = {
    "required": True,
    "content": {
        "application/octet-stream": BINARY | {"examples": {"a table": {"value": TABLE}}},
        "multipart/form-data": {
            "schema": FORM,
            "examples": {"a table": {"value": {"file": TABLE, "name": "points", "target": "y"}}},
        },
    },
}


@router.post(
    "",
    status_code=201,
    response_model_exclude=NOT_SHOWN,
    responses=problems(InsufficientStorage, QuotaExceeded)
    | {200: {"model": Dataset, "description": "The data set already exists."}},
    openapi_extra={"requestBody": BODY},
)
async def upload_dataset(
    request: Request,
    response: Response,
    query: Annotated[UploadQuery, Query()],
    components: AppComponents,
) -> Dataset:
    """Upload a data set as the request body or as a form file: CSV, JSON lines, Parquet, NPZ, or a
    zip with one folder of images per class or with one table, packed with gzip or not. The format
    is detected from the first bytes. Other fields of a form count like query parameters."""
    added = await components.uploader.upload(request, query)
    response.headers["Location"] = f"/datasets/{added.dataset.id}"
    if not added.created:
        response.status_code = 200
    return added.dataset


@router.get("")
def list_datasets(
    components: AppComponents,
    caller: CurrentCaller,
    owner: Owner = None,
    limit: Limit = 50,
    after: Annotated[
        DatasetCursor | None,
        Query(description="Id of the last data set of the page before; it may be deleted."),
    ] = None,
) -> Page[DatasetSummary]:
    """List data sets, newest first."""
    return components.datasets.page(limit, after, owner, caller)


@router.get(
    "/{dataset_id}",
    response_model_exclude=NOT_SHOWN,
    responses=problems(NotFound),
)
def get_dataset(dataset_id: DatasetId, components: AppComponents) -> Dataset:
    """Return a data set with its columns or classes and their statistics."""
    return components.datasets.fetch(dataset_id)


@router.delete(
    "/{dataset_id}",
    status_code=204,
    responses=problems(NotFound, Conflict),
    dependencies=WRITES,
)
def delete_dataset(dataset_id: DatasetId, components: AppComponents, force: Force = False) -> None:
    """Delete a data set. Without `force`, a data set that a job or a model uses is not deleted."""
    components.datasets.delete(dataset_id, force)


@router.get("/{dataset_id}/preview", responses=problems(NotFound, FilesDamaged))
async def get_dataset_preview(
    dataset_id: DatasetId,
    components: AppComponents,
    rows: Annotated[int, Query(ge=1, le=1000, description="Number of rows to return.")] = 10,
) -> Preview:
    """Return the first rows, as parsed."""
    return await run_in(components.work.bulk, _preview, components, dataset_id, rows)


def _preview(components: Components, dataset_id: str, rows: int) -> Preview:
    upload = _found(components, dataset_id)
    with _reading(components, dataset_id):
        shown = preview(upload.schema, upload.directory, rows)
    return Preview(columns=list(upload.columns()) or ["class", "image"], rows=shown)


@router.get("/{dataset_id}/batches", responses=problems(NotFound, Overloaded, FilesDamaged))
async def get_dataset_batches(
    dataset_id: DatasetId,
    components: AppComponents,
    target: Annotated[
        Several | None,
        Query(description="Column to predict, or repeated, several; by default the data set's."),
    ] = None,
    batch_size: Annotated[
        int, Query(ge=1, le=10_000_000, description="Number of rows of a batch.")
    ] = 32,
    shuffle: Annotated[
        bool, Query(description="Whether to draw the rows in random order.")
    ] = False,
    seed: Annotated[int, Query(ge=0, lt=2**63, description="Seed of the random order.")] = 0,
    limit: Annotated[int, Query(ge=1, le=100, description="Number of batches to return.")] = 3,
    rows: Annotated[
        int, Query(ge=1, le=100, description="Number of rows to return of each batch.")
    ] = 5,
) -> Batches:
    """Return the batches that a DataLoader would yield: inputs, with categories encoded as
    numbers, and targets."""
    options = target, batch_size, shuffle, seed, limit, rows
    return await run_in(components.work.bulk, _batches, components, dataset_id, *options)


def _batches(
    components: Components,
    dataset_id: str,
    target: list[str] | None,
    batch_size: int,
    shuffle: bool,
    seed: int,
    limit: int,
    rows: int,
) -> Batches:
    upload = _found(components, dataset_id)
    with _reading(components, dataset_id):
        try:
            spec = UploadRequest(kind="upload", id=dataset_id, target=target).resolve_for(upload)
        except Invalid as error:
            raise Unprocessable.at(error, "query") from None
    inputs, output = spec.signature().inputs, spec.signature().output
    rows = min(rows, MAX_NUMBERS // limit // prod(inputs.shape))
    with components.memory_slots.acquire(), _reading(components, dataset_id):
        if isinstance(inputs, Features):  # images are loaded lazily
            check_size(spec)
        whole = spec.load(components.settings.datasets_dir).rows
        data = []
        for index in islice(batches(len(whole), batch_size, shuffle, seed), limit):
            batch = whole.at(index[:rows])
            data.append(
                Batch(
                    inputs=_peek(batch.inputs, len(index)), targets=_peek(batch.targets, len(index))
                )
            )
    return Batches(
        rows=len(whole),
        batches=-(-len(whole) // batch_size),
        features=inputs.names if isinstance(inputs, Features) else [],
        classes=output.names if isinstance(output, Classes) else [],
        data=data,
    )


def _found(components: AppComponents, dataset_id: str) -> Upload:
    try:
        return components.datasets.find(dataset_id)
    except Invalid as error:
        raise NotFound(error.msg) from None


@contextmanager
def _reading(components: AppComponents, dataset_id: str) -> Iterator[None]:
    """Report a data set that cannot be read or was deleted meanwhile."""
    try:
        with components.datasets.recording_damage(), damage_to(dataset_id):
            yield
    except (Damaged, DataUnavailable) as error:
        _found(components, dataset_id)
        if isinstance(error, Damaged):
            raise
        raise FilesDamaged(str(error)) from None
    except Invalid as error:
        raise Unprocessable(f"the data set {error.msg}") from None


def _peek(tensor: Tensor, rows: int) -> TensorPeek:
    """Describe a tensor of `rows` rows by the first of them."""
    shown = tensor.float() if tensor.is_floating_point() else tensor
    values = shown.numpy()
    return TensorPeek(
        shape=[rows, *shown.shape[1:]],
        dtype=str(values.dtype),
        values=np.where(np.isnan(values), np.array(None), values).tolist(),
    )
