"""JPEG files."""

import re
from struct import unpack_from
from typing import Final

from PIL.JpegImagePlugin import JpegImageFile

from ml.errors import Invalid
from ml.images.formats.base import COLOUR_BYTES, MAX_PARTS, ImageHeader, corrupt
from ml.images.formats.exif import EXIF, orientation, xmp_orientation

SIGNATURE: Final = b"\xff\xd8\xff"
MAX_SCANS: Final = 32
"""Maximum number of scans of a file. Each visits every pixel, however few bytes it has."""
_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""A marker that begins a segment, or the end of the image."""
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_END, _SCAN = 0xD9, 0xDA
_METADATA: Final = frozenset((*range(0xE0, 0xF0), 0xFE))
_NEEDED: Final = {0xE0: b"JFIF\0", 0xEE: b"Adobe"}
"""Metadata that determines how colours are read, by marker."""


def read(file: bytes) -> ImageHeader:
    """Read the header of a JPEG file.

    Raises:
        Invalid: it is corrupt, or has too many segments or scans.
    """
    view, position = memoryview(file), 2
    parts, frame, scans, turned = [view[:2]], b"", 0, 1
    for _ in range(MAX_PARTS):
        found = _MARKER.search(file, position)
        if found is None:
            break
        start, marker = found.start(), file[found.end() - 1]
        if marker == _END:
            parts.append(view[start : start + 2])
            break
        if start + 4 > len(file):
            break
        body, position = start + 4, start + 2 + unpack_from(">H", file, start + 2)[0]
        if marker in _METADATA:
            if marker in _NEEDED and file.startswith(_NEEDED[marker], body):
                parts.append(view[start:position])
            elif marker == 0xE1 and turned == 1:
                turned = _app1_orientation(view[body:position])
            continue
        if marker in _FRAMES:
            if frame:
                raise corrupt("it has two frames")
            frame = file[body:position]
        if marker == _SCAN:
            scans += 1
            after = _MARKER.search(file, position)
            position = after.start() if after else len(file)
        parts.append(view[start:position])
    else:
        raise Invalid(f"the image has over {MAX_PARTS:,} segments, the maximum")
    if scans > MAX_SCANS:
        raise Invalid(
            f"the image has {scans:,} scans, at most {MAX_SCANS} are allowed; save it as a JPEG "
            "that is not progressive"
        )
    if not scans or len(frame) < 6:
        raise corrupt("it has no pixels")
    height, width, components = unpack_from(">HHB", frame, 1)
    return ImageHeader(
        width,
        height,
        is_grey=components == 1,
        pixel_bytes=4 if components == 1 else COLOUR_BYTES,
        file=b"".join(parts),
        reader=JpegImageFile,
        orientation=turned,
        coefficient_bytes=2 * components * width * height if scans > 1 else 0,
    )


def _app1_orientation(segment: memoryview) -> int:
    if bytes(segment[:6]) == EXIF:
        return orientation(segment[6:])
    return xmp_orientation(segment)
