"""Headers of PNG and JPEG files: size, colours and orientation, read before any pixel is decoded.

Only the parts of a file that determine its pixels are handed to Pillow. It would expand comments,
profiles and EXIF tables without a bound, however small the picture.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from struct import unpack_from
from typing import Final

from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from ml.decoding import decoding
from ml.errors import Invalid

MAX_PARTS: Final = 65_536
"""Maximum number of chunks or segments of a file."""
MAX_SCANS: Final = 32
"""Maximum number of scans of a JPEG file. Each visits every pixel, however few bytes it has."""
REDUCED_PIXELS: Final = 16_000_000
"""Pixels of a JPEG file above which it is decoded at a half, a quarter or an eighth of its size."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_PARTS: Final = {b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_PNG_GREY: Final = {0, 4}
"""Colour types of PNG: grey, grey with alpha."""
_PNG_ALPHA: Final = {4, 6}

_JPEG: Final = b"\xff\xd8\xff"
_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""A marker that begins a segment, or the end of the image."""
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_END, _SCAN = 0xD9, 0xDA
_METADATA: Final = frozenset((*range(0xE0, 0xF0), 0xFE))
_NEEDED: Final = {0xE0: b"JFIF\0", 0xEE: b"Adobe"}
"""Metadata that determines how colours are read, by marker."""
_EXIF: Final = b"Exif\0\0"
_EXIF_INTEGERS: Final = {1: "B", 3: "H", 4: "I"}
_XMP_ORIENTATION: Final = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


@dataclass(frozen=True)
class ImageHeader:
    """Header of an image file, and the file without its metadata."""

    width: int
    height: int
    """Size as stored, before `orientation` is applied."""
    is_grey: bool
    pixel_bytes: int
    """Bytes of memory per pixel, at most, while the image is decoded and converted."""
    file: bytes
    reader: type[ImageFile]
    orientation: int = 1
    """Orientation as in EXIF, from 1 to 8; from 5, width and height are exchanged."""
    coefficient_bytes: int = 0
    """Bytes that the decoder of a JPEG file with several scans needs in addition."""
    reduction: int = 1
    """Factor by which the decoder of JPEG files reduces width and height: 1, 2, 4 or 8."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright image."""
        upright = (self.height, self.width)
        return upright if self.orientation < 5 else upright[::-1]

    @property
    def pixels(self) -> int:
        """Number of pixels, as stored."""
        return self.width * self.height

    @property
    def nbytes(self) -> int:
        """Bytes of memory, at most, while the image is decoded and converted."""
        return self.pixels * self.pixel_bytes // self.reduction**2 + self.coefficient_bytes

    def reduced(self, height: int, width: int) -> "ImageHeader":
        """Return the same header; a very large JPEG file is decoded at a part of its size, but of
        at least twice `height` and `width`, so that the result is nearly the same."""
        if self.reader is not JpegImageFile:
            return self
        factor, (tall, wide) = 1, self.size
        while (
            factor < 8
            and self.pixels > REDUCED_PIXELS * factor**2
            and tall >= 4 * factor * height
            and wide >= 4 * factor * width
        ):
            factor *= 2
        return replace(self, reduction=factor)


def read_header(file: bytes, *, max_pixels: int) -> ImageHeader:
    """Read the header of a PNG or JPEG file.

    Raises:
        Invalid: `file` is empty, neither PNG nor JPEG, or corrupt, or the image has more than
            `max_pixels` pixels.
    """
    for signature, read in _READERS.items():
        if file.startswith(signature):
            with decoding("the image"):
                header = read(file)
            break
    else:
        raise Invalid("not a PNG or JPEG image" if file else "the image file is empty")
    if not header.pixels:
        raise corrupt("it has no pixels")
    if header.pixels > max_pixels:
        raise Invalid(
            f"the image is too large: {header.width}x{header.height} is {header.pixels} pixels, at "
            f"most {max_pixels} are allowed"
        )
    return header


def corrupt(reason: object) -> Invalid:
    """Return the refusal of a file that cannot be decoded."""
    return Invalid(f"the image is truncated or corrupt: {reason}")


def _read_png(file: bytes) -> ImageHeader:
    view, position = memoryview(file), 8
    if len(file) < 33 or file[12:16] != b"IHDR":
        raise corrupt("its header is missing")
    width, height, depth, colours = unpack_from(">IIBB", file, 16)
    parts, orientation = [view[:8]], 1
    for number in range(MAX_PARTS):
        if position + 8 > len(file):
            break
        length, name = unpack_from(">I4s", file, position)
        end = position + 12 + length
        if name in _PNG_PARTS or number == 0:
            parts.append(view[position:end])
        elif name == b"eXIf":
            orientation = _orientation(view[position + 8 : end - 4])
        if name == b"IEND":
            break
        position = end
    else:
        raise Invalid(f"the image has over {MAX_PARTS:,} chunks, the maximum")
    is_grey = colours in _PNG_GREY
    is_small = is_grey and colours not in _PNG_ALPHA and depth <= 16
    return ImageHeader(
        width, height, is_grey, 4 if is_small else 8, b"".join(parts), PngImageFile, orientation
    )


def _read_jpeg(file: bytes) -> ImageHeader:
    view, position = memoryview(file), 2
    parts, frame, scans, orientation = [view[:2]], b"", 0, 1
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
            elif marker == 0xE1 and orientation == 1:
                orientation = _app1_orientation(view[body:position])
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
        pixel_bytes=4 if components == 1 else 8,
        file=b"".join(parts),
        reader=JpegImageFile,
        orientation=orientation,
        coefficient_bytes=2 * components * width * height if scans > 1 else 0,
    )


_READERS: Final[dict[bytes, Callable[[bytes], ImageHeader]]] = {_PNG: _read_png, _JPEG: _read_jpeg}


def _app1_orientation(segment: memoryview) -> int:
    if bytes(segment[:6]) == _EXIF:
        return _orientation(segment[6:])
    found = _XMP_ORIENTATION.search(segment)
    return int(found[1]) if found else 1


def _orientation(tiff: memoryview) -> int:
    """Return the orientation in the first directory of EXIF data, or 1."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(tiff[:4]))
    if order is None:
        return 1
    try:
        (start,) = unpack_from(f"{order}I", tiff, 4)
        (count,) = unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = unpack_from(f"{order}HH", tiff, entry)
            if tag == 0x0112 and kind in _EXIF_INTEGERS:
                (value,) = unpack_from(order + _EXIF_INTEGERS[kind], tiff, entry + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:  # truncated
        pass
    return 1
