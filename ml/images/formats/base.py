"""The header of an image file, as every format's reader returns it."""

from dataclasses import dataclass, replace
from typing import Final

from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from ml.errors import Invalid

MAX_PARTS: Final = 65_536
"""Maximum number of chunks or segments of a file."""
REDUCED_PIXELS: Final = 16_000_000
"""Pixels of a JPEG file above which it is decoded at a half, a quarter or an eighth of its size."""
COLOUR_BYTES: Final = 8
"""Bytes of memory per pixel of a coloured image, at most, for most decoders."""


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
    bits: int = 8
    """Bits per channel, at most 16."""
    is_inverted: bool = False
    """Whether grey of more than 8 bits counts from white to black."""
    has_more: bool = False
    """Whether the file has further frames or pages, which are never read."""

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


def corrupt(reason: object) -> Invalid:
    """Return the refusal of a file that cannot be decoded."""
    return Invalid(f"the image is truncated or corrupt: {reason}")


def are_grey(palette: bytes, step: int = 3) -> bool:
    """Return whether all colours of a palette are grey. A colour begins every `step` bytes."""
    whole = len(palette) - len(palette) % step
    return palette[0:whole:step] == palette[1:whole:step] == palette[2:whole:step]
