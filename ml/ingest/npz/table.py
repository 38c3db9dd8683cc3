"""Arrays of an NPZ file as the columns of a table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import ZipFile

import pyarrow as pa
from numpy.typing import NDArray

from ml.ingest import typed_table
from ml.ingest.arrow_columns import Source
from ml.ingest.names import check_names
from ml.ingest.npz.arrays import KINDS, arrow, batches
from ml.ingest.npz.form import Form, role
from ml.ingest.npz.labels import ONE_HOT, class_of, is_one_hot
from ml.ingest.options import Options
from ml.ingest.schema import TableSchema
from ml.ingest.selection import kept
from ml.ingest.typed_table import Findings, batch_rows
from ml.ingest.warning import quoted

SPLIT = "split"
"""Column that holds the split of each row, if the file has splits."""


@dataclass(frozen=True)
class _Column:
    """Place of a column's values in the arrays of a part."""

    array: str
    index: int | Literal["only", "one-hot"]

    def of(self, arrays: Mapping[str, NDArray[Any]]) -> Any:
        """Return the column's values as an Arrow array."""
        rows = arrays[self.array]
        if self.index == "one-hot":
            return arrow(class_of(rows))
        return arrow(rows.reshape(len(rows)) if self.index == "only" else rows[:, self.index])


def read(archive: ZipFile, form: Form, into: Path, options: Options) -> TableSchema:
    """Read arrays of one or two dimensions into the directory `into`: a matrix becomes one column
    for each of its own, unless it holds one-hot labels.

    Raises:
        Invalid: the arrays have different lengths or are too large, or see `typed_table.write`.
    """
    form.check()
    findings = Findings(options.types)
    listed = [*_columns(archive, form, findings)]
    check_names([name for name, _ in listed] + ([SPLIT] if form.is_split else []))
    columns = dict(listed)
    names = kept([*columns], options)

    def typed_batches(some: Sequence[str]) -> Iterator[list[Any]]:
        used = {columns[name].array for name in some if name != SPLIT} or {*form.first}
        size = batch_rows(sum(form.first[name].row_values for name in used))
        size = min(size, *(form.first[name].batch_rows for name in used))
        for part, members in form.parts.items():
            streams = [batches(archive, members[name], size) for name in used]
            for group in zip(*streams, strict=True):
                arrays = dict(zip(used, group, strict=True))
                split = pa.array([part] * len(group[0]), pa.string())
                yield [split if name == SPLIT else columns[name].of(arrays) for name in some]

    sources = {name: _source(form, columns[name]) for name in names}
    if form.is_split:
        sources[SPLIT] = Source("text", is_category=True)
    rows = sum(next(iter(members.values())).rows for members in form.parts.values())
    schema = typed_table.write(typed_batches, sources, rows, into, options, findings)
    return schema.model_copy(update={"split_by": SPLIT if form.is_split else None})


def _columns(archive: ZipFile, form: Form, findings: Findings) -> Iterator[tuple[str, _Column]]:
    """Yield the name and the place of each column."""
    for name, member in form.first.items():
        if member.dtype.kind == "m":
            message = f"{quoted(name)} is {member.dtype}; it is read as numbers of seconds"
            findings.warn(name if len(member.shape) == 1 else None, "unit", message)
        if len(member.shape) == 1 or (role(name) == "targets" and member.shape[1] == 1):
            yield name, _Column(name, "only")
        elif role(name) == "targets" and _are_one_hot(archive, form, name):
            yield name, _Column(name, "one-hot")
            findings.warn(name, "one_hot", f"{quoted(name)} is {ONE_HOT}")
        else:
            yield from ((f"{name}_{i}", _Column(name, i)) for i in range(member.shape[1]))


def _source(form: Form, column: _Column) -> Source:
    if column.index == "one-hot":
        return Source("numeric", is_category=True)
    return Source(KINDS[form.first[column.array].dtype.kind])


def _are_one_hot(archive: ZipFile, form: Form, name: str) -> bool:
    return all(is_one_hot(archive, members[name]) for members in form.parts.values())
