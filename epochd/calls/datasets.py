"""Calls about data sets."""

from collections.abc import Generator, Sequence
from typing import Any

from epochd.calls.call import (
    LONG_SECONDS,
    Call,
    call,
    pages,
    path,
    reads,
    reads_nothing,
    reads_page,
)
from epochd.schemas import Batches, DatasetInfo, DatasetSummary, Page, Preview
from epochd.sources import Source, opened
from epochd.tables import Table, table


def upload(
    source: Source,
    *,
    name: str | None = None,
    target: str | Sequence[str] | None = None,
    **options: Any,
) -> Generator[Call[Any], Any, DatasetInfo]:
    """Upload a data set: a path, an open file, bytes, or a DataFrame.

    `name` is by default that of the file, and `target` the column, or the columns, that jobs
    predict by default. The other options are those of `POST /datasets`: `delimiter`, `categorical`,
    `ignore` and so on.

    The same file uploaded again is the same data set.
    """
    with opened(source) as file:
        sent = call(
            "POST",
            "/datasets",
            reads(DatasetInfo),
            params={"name": name, "target": target, **options},
            files={"file": (file.name, file.content, "application/octet-stream")},
            seconds=LONG_SECONDS,
        )
        return (yield from sent.repeatable() if file.is_seekable else sent)


def get(dataset_id: str) -> Call[DatasetInfo]:
    """Ask the service for the state of the data set."""
    return call("GET", path("datasets", dataset_id), reads(DatasetInfo))


def listed(
    *, owner: str | None = None, limit: int | None = 50
) -> Generator[Call[Any], Any, list[DatasetSummary]]:
    """Return data sets, newest first; all of them if `limit` is None."""

    def page(after: str | None, size: int) -> Call[Page[DatasetSummary]]:
        params = {"owner": owner, "limit": size, "after": after}
        return call("GET", "/datasets", reads_page(DatasetSummary), params=params)

    return pages(page, limit)


def preview(dataset_id: str, rows: int = 10) -> Generator[Call[Any], Any, Table]:
    """Return the first rows: as a DataFrame where pandas is installed, else as a list of
    dictionaries."""
    shown: Preview = yield from call(
        "GET", path("datasets", dataset_id, "preview"), reads(Preview), params={"rows": rows}
    )
    return table(dict(zip(shown.columns, row, strict=True)) for row in shown.rows)


def batches(
    dataset_id: str,
    *,
    target: str | None = None,
    batch_size: int = 32,
    shuffle: bool = False,
    seed: int = 0,
    limit: int = 3,
    rows: int = 5,
) -> Call[Batches]:
    """Return the first `limit` batches that a DataLoader would yield, with `rows` rows of each."""
    return call(
        "GET",
        path("datasets", dataset_id, "batches"),
        reads(Batches),
        params={
            "target": target,
            "batch_size": batch_size,
            "shuffle": shuffle,
            "seed": seed,
            "limit": limit,
            "rows": rows,
        },
    )


def delete(dataset_id: str, *, force: bool = False) -> Call[None]:
    """Delete the data set; with `force`, also if a job or a model uses it."""
    return call(
        "DELETE", path("datasets", dataset_id), reads_nothing, params={"force": force or None}
    )
