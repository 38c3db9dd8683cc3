"""Headers of arrays in NumPy's `.npy` format, from files that are not trusted."""

import re
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
FIELD = re.compile(
    r"""\s*(['"])(?P<name>descr|fortran_order|shape)\1\s*:\s*"""
    r"""(?:(['"])(?P<descr>[<>|=]?[A-Za-z?]{1,12}\d{0,9}(?:\[\w{1,8}\])?)\3"""
    r"""|(?P<fortran_order>True|False)"""
    r"""|\((?P<shape>(?:\s*\d{1,18}L?\s*,)*(?:\s*\d{1,18}L?)?\s*)\))"""
    r"""\s*(?:,\s*|(?=\}))"""
)
"""A field of a header. Python's own parser is not used: a deep enough nesting breaks it for the
rest of the process."""

RECORDS = re.compile(r"""['"]descr['"]\s*:\s*\[""")


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
        text = read(length).decode("latin-1").strip()
        fields = _fields(text)
        shape = _shape(fields["shape"])
        found = np.dtype(fields["descr"])
    except Invalid:
        raise
    except Exception as error:  # of NumPy, which documents no set of them
        raise Invalid(f"has a broken header ({type(error).__name__})") from None
    if found.hasobject:
        raise Invalid(
            "holds Python objects, which would have to be unpickled; save it as numbers or strings"
        )
    if found.kind not in "biufUSMmc" or found.fields or found.subdtype or not found.itemsize:
        raise Invalid(f"holds {found}; allowed are numbers, strings or booleans")
    is_fortran = fields["fortran_order"] == "True"
    return NpyHeader(shape, found, is_fortran, 8 + struct.calcsize(width) + length)


def _fields(text: str) -> dict[str, str]:
    """Return the three fields of a header as texts."""
    fields: dict[str, str] = {}
    position = 1
    while text.startswith("{") and (field := FIELD.match(text, position)):
        name = field["name"]
        if field[name] is None or name in fields:
            break
        fields[name] = field[name]
        position = field.end()
    if RECORDS.search(text):
        raise Invalid("holds records; allowed are numbers, strings or booleans")
    if len(fields) < 3 or text[position:] != "}":
        raise Invalid(
            "has a broken header; expected are a simple type, the order and a shape of whole "
            "numbers"
        )
    return fields


def _shape(text: str) -> tuple[int, ...]:
    sides = [side.strip().rstrip("L") for side in text.split(",")]
    if len(sides) == 1 and sides[0]:
        raise Invalid("has a broken header: its shape is not a tuple")
    if len(sides) > MAX_DIMENSIONS + 1:
        raise Invalid(f"has over {MAX_DIMENSIONS} dimensions")
    return tuple(int(side) for side in sides if side)
