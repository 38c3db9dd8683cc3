"""BMP files."""

from struct import unpack_from
from typing import Final

from PIL.BmpImagePlugin import BmpImageFile

from ml.errors import Invalid
from ml.images.formats.base import COLOUR_BYTES, ImageHeader, are_grey, corrupt

SIGNATURE: Final = b"BM"
_OLD: Final = 12
"""Size of the header of OS/2, whose fields are shorter."""
_SIZES: Final = {_OLD, 40, 52, 56, 64, 108, 124}
_RUN_LENGTHS: Final = {1, 2}
MAX_RUN_LENGTH_PIXELS: Final = 4_000_000
"""Maximum pixels of a run-length encoded file: Pillow decodes it in Python, byte by byte."""


def read(file: bytes) -> ImageHeader:
    """Read the header of a BMP file.

    Raises:
        Invalid: it is corrupt, or run-length encoded and too large.
    """
    if len(file) < 26:
        raise corrupt("its header is missing")
    size, compression, colours = unpack_from("<I", file, 14)[0], 0, 0
    if size not in _SIZES:
        raise corrupt(f"its header has {size:,} bytes")
    if size == _OLD:
        width, height, _, bits = unpack_from("<HHHH", file, 18)
    else:
        width, height, _, bits, compression = unpack_from("<IIHHI", file, 18)
        (colours,) = unpack_from("<I", file, 46)
        if file[25] == 0xFF:  # stored from the top
            height = 2**32 - height
    if compression in _RUN_LENGTHS and (
        width * height > MAX_RUN_LENGTH_PIXELS or len(file) > 4 * width * height + 65_536
    ):
        raise Invalid(
            f"the image is run-length encoded, and has over {MAX_RUN_LENGTH_PIXELS:,} pixels or "
            "more bytes than they need; save it as PNG"
        )
    step = 3 if size == _OLD else 4
    palette = file[14 + size : 14 + size + step * (colours or 1 << min(bits, 8))]
    return ImageHeader(
        width,
        height,
        is_grey=bits <= 8 and are_grey(palette, step),
        pixel_bytes=COLOUR_BYTES,
        file=file,
        reader=BmpImageFile,
    )
