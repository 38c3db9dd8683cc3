"""Rows as DataFrames where pandas is installed, and the comparison of jobs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from epochd.schemas import JobInfo

Table = Any
"""A pandas DataFrame where pandas is installed, else a list of dictionaries."""
Row = dict[str, Any]
NOT_COMPARED = frozenset({"name", "dataset.resolved"})
"""Fields of a spec that follow from others, or that a row has anyway."""


def table(rows: Iterable[Row]) -> Table:
    """Return rows as a DataFrame where pandas is installed, else as a list."""
    listed = list(rows)
    try:
        import pandas as pd
    except ImportError:
        return listed
    return pd.DataFrame(listed)


def comparison(jobs: Sequence[JobInfo]) -> list[Row]:
    """Return a row for each job: the fields in which their specs differ, and its metrics."""
    fields = dict(_differences([job.spec for job in jobs]))
    metrics = dict.fromkeys(name for job in jobs for name in job.metrics)
    return [
        {"job": job.id, "name": job.name, "status": job.status}
        | {path: values[row] for path, values in fields.items()}
        | {name: job.metrics.get(name) for name in metrics}
        for row, job in enumerate(jobs)
    ]


def _differences(
    documents: Sequence[Mapping[str, Any]], prefix: str = ""
) -> Iterator[tuple[str, list[Any]]]:
    """Yield the fields in which documents differ, by dotted paths such as `optimizer.lr`, with the
    value of each document. Of parts of different kinds, the kinds suffice."""
    for name in dict.fromkeys(name for document in documents for name in document):
        values = [document.get(name) for document in documents]
        path = f"{prefix}{name}"
        if path in NOT_COMPARED or all(value == values[0] for value in values):
            continue
        parts = [value for value in values if isinstance(value, Mapping)]
        kinds = [part.get("kind") for part in parts]
        if len(parts) < len(values):
            yield path, values
        elif any(kind != kinds[0] for kind in kinds):
            yield path, kinds
        else:
            yield from _differences(parts, f"{path}.")
