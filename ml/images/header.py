"""Headers of image files: size, colours and orientation, read before any pixel is decoded.

Only the parts of a file that determine its pixels are handed to Pillow. It would expand comments,
profiles and EXIF tables without a bound, however small the picture.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ml.decoding import decoding
from ml.errors import Invalid
from ml.images.formats import bmp, gif, jpeg, png, tiff, webp
from ml.images.formats.base import COLOUR_BYTES, ImageHeader, corrupt

__all__ = ["EXTENSIONS", "MEDIA_TYPES", "START_BYTES", "ImageHeader", "is_image", "read_header"]

START_BYTES: Final = 64
"""First bytes of a file that tell its format."""


@dataclass(frozen=True)
class _Format:
    """A format of image files that is read."""

    name: str
    start: re.Pattern[bytes]
    read: Callable[[bytes], ImageHeader]
    extensions: frozenset[str]
    media_types: tuple[str, ...]


def _format(
    name: str, start: bytes, read: Callable[[bytes], ImageHeader], extensions: str, types: str
) -> _Format:
    media_types = tuple(f"image/{one}" for one in types.split())
    return _Format(
        name, re.compile(start, re.DOTALL), read, frozenset(extensions.split()), media_types
    )


_READ: Final = (
    _format("PNG", rb"\x89PNG\r\n\x1a\n", png.read, "png apng", "png"),
    _format("JPEG", rb"\xff\xd8\xff", jpeg.read, "jpg jpeg jpe jfif", "jpeg jpg"),
    _format("GIF", rb"GIF8[79]a", gif.read, "gif", "gif"),
    _format("WebP", rb"RIFF.{4}WEBP", webp.read, "webp", "webp"),
    _format("TIFF", rb"II[*+]\0|MM\0[*+]", tiff.read, "tif tiff", "tiff"),
    # The reserved bytes tell it from a text.
    _format("BMP", rb"BM.{4}\0{4}", bmp.read, "bmp dib", "bmp x-ms-bmp"),
)
_NAMES: Final = f"{', '.join(one.name for one in _READ[:-1])} or {_READ[-1].name}"

_REFUSED: Final = {
    re.compile(start, re.DOTALL): name
    for start, name in {
        rb".{4}ftypavi[fs]": "an AVIF",
        rb".{4}ftyp(he|mif1|msf1)": "a HEIC",
        rb"\xff\x0a|\0\0\0\x0cJXL ": "a JPEG XL",
        rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  ": "a JPEG 2000",
        rb"8BPS": "a Photoshop",
        rb"\0\0[\x01\x02]\0": "an icon",
        rb"\s*<(\?xml[^>]*>\s*<)?svg": "an SVG",
    }.items()
}
"""Formats that are not read. The costs of decoding the first three are not bounded by their
headers, and the decoders of HEIC and JPEG XL are no part of Pillow."""

EXTENSIONS: Final = frozenset[str]().union(
    *(one.extensions for one in _READ),
    ("avif", "heic", "heif", "hif", "jxl", "jp2", "j2k", "psd", "ico", "svg"),
    ("dng", "cr2", "cr3", "nef", "arw", "raf", "orf", "rw2", "tga", "ppm", "pgm", "pbm"),
)
"""Extensions of the names of image files, in lower case and without a dot, read or not."""

MEDIA_TYPES: Final = tuple(kind for one in _READ for kind in one.media_types)
"""Content types of the image files that are read."""


def is_image(start: bytes) -> bool:
    """Return whether a file with these first `START_BYTES` bytes is an image, read or not."""
    return any(one.start.match(start) for one in _READ) or any(
        pattern.match(start) for pattern in _REFUSED
    )


def read_header(file: bytes, *, max_pixels: int) -> ImageHeader:
    """Read the header of an image file.

    Raises:
        Invalid: `file` is empty, of another format, or corrupt, or the image has more than
            `max_pixels` pixels, or fewer where a pixel takes more memory than in most formats.
    """
    with decoding("the image"):
        try:
            header = _reader(file)(file)
        except struct.error:
            raise corrupt("it ends early") from None
    if not header.pixels:
        raise corrupt("it has no pixels")
    # The limit is one of memory.
    limit = max_pixels * COLOUR_BYTES // max(COLOUR_BYTES, header.pixel_bytes)
    if header.pixels > limit:
        raise Invalid(
            f"the image is too large: {header.width}x{header.height} is {header.pixels} pixels, at "
            f"most {limit} are allowed"
        )
    return header


def _reader(file: bytes) -> Callable[[bytes], ImageHeader]:
    if not file:
        raise Invalid("the image file is empty")
    for one in _READ:
        if one.start.match(file):
            return one.read
    for pattern, name in _REFUSED.items():
        if pattern.match(file[:START_BYTES]):
            raise Invalid(f"{name} image, which is not read; save it as PNG or JPEG")
    raise Invalid(f"not a {_NAMES} image")
