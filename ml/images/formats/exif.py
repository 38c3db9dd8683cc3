"""The orientation of an image, in EXIF data or in XMP."""

import re
import struct
from struct import unpack_from
from typing import Final

EXIF: Final = b"Exif\0\0"
_INTEGERS: Final = {1: "B", 3: "H", 4: "I"}
_XMP_ORIENTATION: Final = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


def orientation(tiff: bytes | memoryview) -> int:
    """Return the orientation in the first directory of EXIF data, or 1."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(tiff[:4]))
    if order is None:
        return 1
    try:
        (start,) = unpack_from(f"{order}I", tiff, 4)
        (count,) = unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = unpack_from(f"{order}HH", tiff, entry)
            if tag == 0x0112 and kind in _INTEGERS:
                (value,) = unpack_from(order + _INTEGERS[kind], tiff, entry + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:  # truncated
        pass
    return 1


def xmp_orientation(xmp: bytes | memoryview) -> int:
    """Return the orientation in XMP metadata, or 1."""
    found = _XMP_ORIENTATION.search(xmp)
    return int(found[1]) if found else 1
