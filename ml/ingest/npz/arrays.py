"""Arrays of an NPZ file: their headers, checked, and their rows, read a few at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import IO, Any
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ml.errors import Invalid
from ml.ingest.arrow_columns import SECONDS
from ml.ingest.names import shown
from ml.ingest.npy_header import read_npy_header
from ml.ingest.reading import reading
from ml.ingest.schema import MAX_VALUES
from ml.spelling import ColumnKind

MAX_TEXT = 1000
"""Maximum number of characters of a text."""
MAX_CHANNELS = 4
BATCH_BYTES = 16 * 1024 * 1024
"""Bytes of an array that are read at a time, unless a single row has more."""
KINDS: dict[str, ColumnKind] = {
    "b": "boolean",
    "i": "numeric",
    "u": "numeric",
    "f": "numeric",
    "U": "text",
    "S": "text",
    "M": "date",
    "m": "numeric",
}
"""Kind of a column's values, by the `kind` of a numpy dtype."""
FINER = ("ms", "us", "ns", "ps", "fs", "as")
"""Units of time that are shorter than a second."""
UNKNOWN_UNITS = {"M": ("generic",), "m": ("generic", "Y", "M")}
"""Units of dates and of time spans that have no length in seconds."""


@dataclass(frozen=True)
class Member:
    """An array of the file, described by its header."""

    name: str
    file: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.shape[0]

    @property
    def row_values(self) -> int:
        """Number of values of a row."""
        return prod(self.shape[1:])

    @property
    def row_bytes(self) -> int:
        """Size of a row."""
        return self.row_values * self.dtype.itemsize

    @property
    def batch_rows(self) -> int:
        """Number of rows to read at a time."""
        return max(1, BATCH_BYTES // max(1, self.row_bytes))


def open_member(archive: ZipFile, file: str) -> Member:
    """Parse and check an array's header, and check the size of its data.

    Raises:
        Invalid: the array is corrupt, too large, or of an unsupported dtype.
    """
    name = file.removesuffix(".npy")
    try:
        with archive.open(file) as stream:
            header = read_npy_header(stream.read)
    except Invalid as error:
        raise Invalid(
            f"the array {shown(name)} {error.msg}; or leave it out with `ignore`"
        ) from None
    shape, dtype = header.shape, header.dtype
    if dtype.kind not in KINDS or _lacks_unit(dtype):
        raise Invalid(
            f"the array {name!r} holds {dtype}; allowed are numbers, strings, booleans and dates; "
            "or leave it out with `ignore`"
        )
    if dtype.kind in "US" and dtype.itemsize > MAX_TEXT * (4 if dtype.kind == "U" else 1):
        raise Invalid(
            f"the array {name!r} holds strings of over {MAX_TEXT:,} characters, the maximum"
        )
    if not shape:
        raise Invalid(
            f"the array {name!r} is a single value; it must have at least one dimension, of rows"
        )
    if prod(shape) > MAX_VALUES * (MAX_CHANNELS if len(shape) == 4 else 1):
        raise Invalid(f"the array {name!r} has over {MAX_VALUES:,} values, the maximum")
    size = archive.getinfo(file).file_size - header.nbytes
    if size != header.data_bytes:
        raise Invalid(
            f"the array {name!r} has {size:,} bytes, but the shape {shape} of {dtype} takes "
            f"{header.data_bytes:,}"
        )
    if header.is_fortran and len(shape) > 2:
        raise Invalid(f"the array {name!r} is in Fortran order; save numpy.ascontiguousarray of it")
    return Member(name, file, shape, dtype, header.is_fortran and len(shape) == 2)


def _lacks_unit(dtype: np.dtype[Any]) -> bool:
    unknown = UNKNOWN_UNITS.get(dtype.kind, ())
    return bool(unknown) and np.datetime_data(dtype)[0] in unknown


def batches(archive: ZipFile, member: Member, rows: int) -> Iterator[NDArray[Any]]:
    """Yield an array in batches of at most `rows` rows, of which one is in memory at a time. An
    array in Fortran order is read as a whole."""
    with reading(f"the array {member.name!r}"), archive.open(member.file) as stream:
        read_npy_header(stream.read)
        if member.is_fortran:
            whole = _read(stream, member, member.shape[::-1]).T
            yield from (whole[start : start + rows] for start in range(0, member.rows, rows))
        else:
            for start in range(0, member.rows, rows):
                count = min(rows, member.rows - start)
                yield _read(stream, member, (count, *member.shape[1:]))
        # Its checksum is compared at the end.
        stream.read(1)


def _read(stream: IO[bytes], member: Member, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the next values in native byte order."""
    size = prod(shape) * member.dtype.itemsize
    data = bytearray()
    while len(data) < size:
        if not (part := stream.read(size - len(data))):
            raise Invalid(f"the array {member.name!r} is truncated; save it again")
        data += part
    if member.dtype.kind == "b":
        # A byte other than 0 and 1 is no boolean.
        truths: NDArray[np.bool_] = np.frombuffer(data, np.uint8).reshape(shape) != 0
        return truths
    found = np.frombuffer(data, member.dtype).reshape(shape)
    return found.astype(member.dtype.newbyteorder("="), copy=False)


def arrow(values: NDArray[Any]) -> Any:
    """Return the values `(rows,)` of an array as an Arrow array."""
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    elif values.dtype.kind in "mM":
        values = _in_seconds(values)
    elif values.dtype.kind == "f" and values.dtype.itemsize > 8:
        values = values.astype(np.float64)
    # pyarrow takes no strided array of strings.
    return pa.array(np.ascontiguousarray(values, values.dtype))


def _in_seconds(times: NDArray[Any]) -> NDArray[Any]:
    """Return dates or time spans in a unit that Arrow has: seconds, unless it is a finer one."""
    unit, count = np.datetime_data(times.dtype)
    if unit in SECONDS and count == 1:
        return times
    wanted = np.dtype(f"{times.dtype.kind}8[{'ns' if unit in FINER else 's'}]")
    found = times.astype(wanted)
    if unit not in FINER[3:] and not ((found.astype(times.dtype) == times) | np.isnat(times)).all():
        raise Invalid(f"an array of {times.dtype} holds dates beyond the years that there are")
    return found
