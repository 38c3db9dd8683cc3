"""NPZ files: arrays with equally many rows."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ml.errors import Invalid
from ml.ingest.image_writer import Channels, ImageWriter
from ml.ingest.names import check_names, shown
from ml.ingest.npy_header import read_npy_header
from ml.ingest.options import Options
from ml.ingest.reading import reading
from ml.ingest.schema import MAX_COLUMNS, MAX_VALUES, TABLE, Schema, TableSchema
from ml.ingest.table_writer import TableWriter, check_size, check_types, typed
from ml.ingest.zip_safety import refusing_broken
from ml.spelling import ColumnKind, Gaps, Spelling

BATCH_ROWS = 65_536
FIRST_ROW = 1
MAX_TEXT = 1000
"""Maximum number of characters of a text."""
KINDS: dict[str, ColumnKind] = {
    "b": "boolean",
    "i": "numeric",
    "u": "numeric",
    "f": "numeric",
    "U": "categorical",
    "S": "categorical",
}
"""Column kind, by the `kind` of a numpy dtype."""


@dataclass(frozen=True)
class Member:
    """An array of the file, described by its header."""

    name: str
    file: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def is_npz(source: Path) -> bool:
    """Return whether a zip file holds only arrays."""
    with ZipFile(source) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def read(source: Path, into: Path, options: Options) -> Schema:
    """Read the NPZ file `source` into the directory `into`: arrays as columns, or an array of
    images and one of labels.

    Raises:
        Invalid: an array is corrupt, too large, of another length, or of an unsupported dtype.
    """
    with refusing_broken(), ZipFile(source) as archive:
        if len(archive.infolist()) > MAX_COLUMNS:
            raise Invalid(f"has over {MAX_COLUMNS:,} arrays, the maximum")
        members = [_member(archive, name) for name in archive.namelist()]
        rows = _rows(members)
        images = [m for m in members if len(m.shape) > 2]
        if images:
            return _images(archive, images, members, into, options)
        return _table(archive, members, rows, into, options)


def _member(archive: ZipFile, file: str) -> Member:
    """Parse and check an array's header, and check the size of its data."""
    name = file.removesuffix(".npy")
    try:
        with archive.open(file) as stream:
            header = read_npy_header(stream.read)
    except Invalid as error:
        raise Invalid(f"the array {shown(name)} {error.msg}") from None
    shape, dtype = header.shape, header.dtype
    if dtype.kind not in KINDS:
        raise Invalid(f"the array {name!r} holds {dtype}; allowed are numbers, strings or booleans")
    if dtype.kind in "US" and dtype.itemsize > MAX_TEXT * (4 if dtype.kind == "U" else 1):
        raise Invalid(
            f"the array {name!r} holds strings of over {MAX_TEXT:,} characters, the maximum"
        )
    if not shape:
        raise Invalid(
            f"the array {name!r} is a single value; it must have at least one dimension, of rows"
        )
    if prod(shape) > MAX_VALUES * (3 if len(shape) == 4 else 1):
        raise Invalid(f"the array {name!r} has over {MAX_VALUES:,} values, the maximum")
    size = archive.getinfo(file).file_size - header.nbytes
    if size != header.data_bytes:
        raise Invalid(
            f"the array {name!r} has {size:,} bytes, but the shape {shape} of {dtype} takes "
            f"{header.data_bytes:,}"
        )
    if header.is_fortran and len(shape) > 2:
        raise Invalid(f"the array {name!r} is in Fortran order; save it in C order")
    return Member(name, file, shape, dtype)


def _rows(members: list[Member]) -> int:
    first = members[0]
    for member in members:
        if member.shape[0] != first.shape[0]:
            raise Invalid(
                f"the array {member.name!r} has {member.shape[0]:,} rows, but {first.name!r} has "
                f"{first.shape[0]:,}"
            )
    if not first.shape[0]:
        raise Invalid("has arrays without rows")
    return first.shape[0]


def _array(archive: ZipFile, member: Member) -> NDArray[Any]:
    with reading(f"the array {member.name!r}"), archive.open(member.file) as stream:
        try:
            array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        except ValueError as error:
            raise Invalid(f"the array {member.name!r} cannot be read: {error}") from None
    return array


def _table(
    archive: ZipFile, members: list[Member], rows: int, into: Path, options: Options
) -> TableSchema:
    names = [
        name
        for m in members
        for name in (
            [m.name] if len(m.shape) == 1 else [f"{m.name}_{i}" for i in range(m.shape[1])]
        )
    ]
    check_names(names)
    check_types(options.types, names)
    check_size(rows, len(names))
    columns: dict[str, NDArray[Any]] = {}
    for member in members:
        array = _array(archive, member)
        if array.ndim == 1:
            columns[member.name] = array
        else:
            columns |= {f"{member.name}_{i}": array[:, i] for i in range(array.shape[1])}
    spellings = {
        name: Spelling(kind=options.types.get(name, KINDS[columns[name].dtype.kind]))
        for name in names
    }
    gaps = options.gaps()
    with TableWriter(into / TABLE, spellings, gaps, FIRST_ROW) as writer:
        for start in range(0, rows, BATCH_ROWS):
            stop = start + BATCH_ROWS
            writer.add([_arrow(columns[name][start:stop], gaps) for name in names])
    return writer.schema(options.types)


def _arrow(values: NDArray[Any], gaps: Gaps) -> Any:
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "f":
        values = values.astype(np.float64)
    # Convert to native byte order.
    array = pa.array(np.ascontiguousarray(values, values.dtype.newbyteorder("=")))
    return gaps.trimmed(array) if pa.types.is_string(array.type) else array


def _images(
    archive: ZipFile, images: list[Member], members: list[Member], into: Path, options: Options
) -> Schema:
    labels = [member for member in members if member not in images]
    if len(images) != 1 or len(labels) != 1 or len(labels[0].shape) != 1:
        raise Invalid(
            "needs exactly one array of images, (rows, height, width) or (rows, height, width, 3), "
            "and one of labels, (rows,)"
        )
    member = images[0]
    if member.dtype != np.uint8:
        raise Invalid(f"the images {member.name!r} are {member.dtype}; they must be uint8")
    pictures = _array(archive, member)
    shape = pictures.shape[1:]
    if len(shape) == 3 and 1 in (shape[0], shape[2]):
        pictures = pictures.reshape(len(pictures), *(side for side in shape if side != 1))
    elif len(shape) == 3 and shape[0] == 3:
        pictures = np.moveaxis(pictures, 1, -1)
    elif not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)):
        raise Invalid(
            f"the images {member.name!r} have the shape {member.shape}; it must be (rows, height, "
            "width) or (rows, height, width, 3)"
        )
    gaps, classes = options.gaps(), Spelling(kind="categorical")
    label_values = _arrow(_array(archive, labels[0]), gaps)
    named = typed(label_values, classes, gaps, labels[0].name, FIRST_ROW).to_pylist()
    if None in named:
        row = FIRST_ROW + named.index(None)
        raise Invalid(f"row {row}, array {labels[0].name!r}: the image has no label")
    channels: Channels = 3 if pictures.ndim == 4 else 1
    size = options.image_size or list(pictures.shape[1:3])
    with ImageWriter(
        into, len(pictures), size, channels, sorted(set(named), key=_by_number)
    ) as writer:
        for picture, label in zip(pictures, named, strict=True):
            writer.add(picture, label)
    return writer.schema()


def _by_number(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return float("inf"), label
