"""PNG files."""

from struct import unpack_from
from typing import Final

from PIL.PngImagePlugin import PngImageFile

from ml.errors import Invalid
from ml.images.formats.base import COLOUR_BYTES, MAX_PARTS, ImageHeader, are_grey, corrupt
from ml.images.formats.exif import orientation

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PARTS: Final = {b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_GREY: Final = {0, 4}
"""Colour types: grey, grey with alpha."""
_PALETTE: Final = 3
_ALPHA: Final = {4, 6}


def read(file: bytes) -> ImageHeader:
    """Read the header of a PNG file.

    Raises:
        Invalid: it is corrupt, or has too many chunks.
    """
    view, position = memoryview(file), 8
    if len(file) < 33 or file[12:16] != b"IHDR":
        raise corrupt("its header is missing")
    width, height, depth, colours = unpack_from(">IIBB", file, 16)
    parts, turned, has_more, is_grey = [view[:8]], 1, False, colours in _GREY
    for number in range(MAX_PARTS):
        if position + 8 > len(file):
            break
        length, name = unpack_from(">I4s", file, position)
        end = position + 12 + length
        if name in _PARTS or number == 0:
            parts.append(view[position:end])
        elif name == b"eXIf":
            turned = orientation(view[position + 8 : end - 4])
        elif name == b"acTL" and end <= len(file):
            has_more = unpack_from(">I", file, position + 8)[0] > 1
        if name == b"PLTE" and colours == _PALETTE:
            is_grey = are_grey(file[position + 8 : end - 4])
        if name == b"IEND":
            break
        position = end
    else:
        raise Invalid(f"the image has over {MAX_PARTS:,} chunks, the maximum")
    is_small = colours in _GREY and colours not in _ALPHA and depth <= 16
    return ImageHeader(
        width,
        height,
        is_grey,
        pixel_bytes=4 if is_small else COLOUR_BYTES,
        file=b"".join(parts),
        reader=PngImageFile,
        orientation=turned,
        bits=depth,
        has_more=has_more,
    )
