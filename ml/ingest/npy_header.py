"""Headers of arrays in NumPy's `.npy` format, from files that are not trusted."""

import ast
import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ml.errors import Invalid

MAGIC = b"\x93NUMPY"
LENGTHS = {1: "<H", 2: "<I", 3: "<I"}
"""`struct` format of the header's length, by version of the format: see `numpy.lib.format`."""
MAX_HEADER = 10_000
MAX_DIMENSIONS = 32


@dataclass(frozen=True)
class NpyHeader:
    """Shape and type of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool
    nbytes: int
    """Length of the header itself."""

    @property
    def data_bytes(self) -> int:
        """Bytes of the array's values."""
        return prod(self.shape) * self.dtype.itemsize


def read_npy_header(read: Callable[[int], bytes]) -> NpyHeader:
    """Read the header of a `.npy` file; `read` returns its next bytes, at most as many as asked.

    Raises:
        Invalid: the header is damaged, or announces Python objects or records; the message
            completes "the array ...".
    """
    start = read(8)
    if start[:6] != MAGIC or len(start) < 8 or start[6] not in LENGTHS:
        raise Invalid("is not in numpy's format")
    width = LENGTHS[start[6]]
    try:
        (length,) = struct.unpack(width, read(struct.calcsize(width)))
        if length > MAX_HEADER:
            raise Invalid(f"has a header of over {MAX_HEADER:,} bytes")
        fields = ast.literal_eval(read(length).decode("latin-1").strip())
        shape, dtype = fields["shape"], fields["descr"]
        is_valid = (
            type(shape) is tuple
            and len(shape) <= MAX_DIMENSIONS
            and all(type(side) is int and side >= 0 for side in shape)
            and type(fields["fortran_order"]) is bool
        )
        # A list describes the fields of records.
        found = np.dtype(dtype) if type(dtype) is str else np.dtype("V1")
    except Invalid:
        raise
    except Exception as error:  # of the parser and of NumPy, which document no set of them
        raise Invalid(f"has a broken header ({type(error).__name__})") from None
    if not is_valid:
        raise Invalid("has a broken header: its shape must be a tuple of whole numbers")
    if found.hasobject:
        raise Invalid(
            "holds Python objects, which would have to be unpickled; save it as numbers or strings"
        )
    if found.kind not in "biufUSMmc" or found.fields or found.subdtype or not found.itemsize:
        raise Invalid(f"holds {found}; allowed are numbers, strings or booleans")
    return NpyHeader(shape, found, fields["fortran_order"], 8 + struct.calcsize(width) + length)
