"""Decode image files into arrays of pixels."""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from pydantic import AliasChoices, Field

from ml.decoding import decoding
from ml.images.bits import BIT_DEPTHS, BitDepth
from ml.images.formats.base import ImageHeader, corrupt
from ml.images.header import read_header
from ml.strict import Frozen

Grey = NDArray[np.uint8]
Picture = NDArray[np.uint8]
"""Uint8 pixels: grey `(height, width)` or RGB `(height, width, 3)`."""
Mask = NDArray[np.bool_]

_TILE_PIXELS: Final = 256 * 1024
"""Pixels converted at a time. A copy of a large image in floats would take gigabytes."""
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")

# Blocks above 32 MiB, glibc's maximum threshold, are mapped one by one and given back when freed.
# Smaller ones would keep the memory of a large image in the process.
Image.core.set_block_size(64 * 1024 * 1024)  # type: ignore[attr-defined]
# Headers are checked against the service's own limits.
Image.MAX_IMAGE_PIXELS = None

_TURN: Final[Mapping[int, Callable[[Grey], Grey]]] = {
    1: lambda grey: grey,
    2: lambda grey: grey[:, ::-1],
    3: lambda grey: grey[::-1, ::-1],
    4: lambda grey: grey[::-1],
    5: lambda grey: grey.T,
    6: lambda grey: grey[::-1].T,
    7: lambda grey: grey[::-1, ::-1].T,
    8: lambda grey: grey[:, ::-1].T,
}
"""Functions that turn an image upright, by EXIF orientation."""
_TRANSPOSE: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@decoding("the image")
def decode(header: ImageHeader) -> Grey:
    """Return the luminance of an image file as a uint8 array (height, width).

    Any colour mode is read; 16-bit samples are scaled to 8 bits, by the bits that this image uses;
    EXIF orientation is applied; transparent parts become black or white, whichever contrasts with
    the opaque parts.

    Raises:
        Invalid: the file is truncated or corrupt.
    """
    # The decoded image is freed before a turned copy is made.
    return np.ascontiguousarray(_TURN[header.orientation](_luminance(*_shallow(header, None))))


@decoding("the image")
def decode_picture(header: ImageHeader, bit_depth: BitDepth = 16) -> Image.Image:
    """Return the upright image, in RGB unless its colour mode is grey.

    Like `decode`, except that transparent parts of a coloured image become white, and that the
    white of 16-bit samples is that of `bit_depth`.

    Raises:
        Invalid: the file is truncated or corrupt.
    """
    image = _opaque(*_shallow(header, bit_depth))
    return image.transpose(_TRANSPOSE[header.orientation]) if header.orientation > 1 else image


@decoding("the image")
def used_bits(header: ImageHeader) -> BitDepth:
    """Return the bits that the samples of a 16-bit image need, in steps of 2 from 10 to 16.

    Raises:
        Invalid: the file is truncated or corrupt.
    """
    return _used_bits(_loaded(header))


class PictureForm(Frozen):
    """Images resized to one size and otherwise unchanged."""

    height: int
    width: int
    channels: Literal[1, 3] = Field(validation_alias=AliasChoices("channels", "planes"))
    """Number of channels: 1 for grey, 3 for RGB. `planes` in artifacts of earlier versions."""
    bit_depth: BitDepth = 16
    """Bits of 16-bit samples that the training images use; the highest number of them is white."""

    def apply(self, picture: Picture) -> NDArray[np.uint8]:
        """Return a picture of any size as uint8 `(height, width)` or `(3, height, width)`."""
        return self._resized(Image.fromarray(picture))

    def header(self, file: bytes, *, max_pixels: int) -> ImageHeader:
        """Read the header of an image file for `decode`.

        Raises:
            Invalid: as `read_header`.
        """
        return read_header(file, max_pixels=max_pixels).reduced(self.height, self.width)

    def decode(self, header: ImageHeader) -> NDArray[np.uint8]:
        """Decode an image file into this form.

        Raises:
            Invalid: as `decode_picture`.
        """
        return self._resized(decode_picture(header, self.bit_depth))

    def _resized(self, image: Image.Image) -> NDArray[np.uint8]:
        mode = "L" if self.channels == 1 else "RGB"
        image = image if image.mode == mode else image.convert(mode)
        if image.size != (self.width, self.height):
            image = image.resize((self.width, self.height), Image.Resampling.BILINEAR)
        pixels = np.array(image)
        return pixels if self.channels == 1 else np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


def _loaded(header: ImageHeader) -> Image.Image:
    # The readers are called directly because `Image.open` has a global size limit of its own, and
    # an error that does not give the size.
    try:
        image = header.reader(io.BytesIO(header.file))
        if header.reduction > 1:
            assert isinstance(image, JpegImageFile)
            size = (image.width // header.reduction, image.height // header.reduction)
            image.draft(None, size)
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # Pillow documents no set of exceptions for corrupt files
        raise corrupt(error) from error
    # Colours multiplied by their opacity.
    return image.convert("LA") if image.mode == "La" else image


@dataclass(frozen=True)
class _Range:
    """Numbers in 16-bit grey that are black and white."""

    black: int
    white: int

    def scaled(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return numbers as grey from 0 to 255, not rounded to integers."""
        return np.clip((values - float(self.black)) * 255 / (self.white - self.black), 0, 255)


_FULL: Final = _Range(0, 65535)


def _shallow(header: ImageHeader, bit_depth: BitDepth | None) -> tuple[Image.Image, _Range]:
    """Return a decoded image, and the range of its samples if it is 16-bit grey. Pillow reads
    colours of 16 bits as their upper 8; those that use fewer bits are stretched."""
    image = _loaded(header)
    if header.bits <= 8:
        return image, _FULL
    bits = header.bits if header.bits < 16 else bit_depth or _used_bits(image)
    if image.mode.startswith("I"):
        ends = (0, 2**bits - 1)
        return image, _Range(*(ends[::-1] if header.is_inverted else ends))
    if bits < 16:
        top = 2 ** max(1, bits - 8) - 1
        stretch = [min(255, round(255 * value / top)) for value in range(256)]
        bands = [list(range(256)) if band == "A" else stretch for band in image.getbands()]
        image = image.point([value for band in bands for value in band])
    return image, _FULL


def _used_bits(image: Image.Image) -> BitDepth:
    if image.mode.startswith("I"):
        bits = max(int(np.asarray(part).max()) for _, part in _tiles(image)).bit_length()
    else:
        bands = (image.getchannel(band) for band in image.getbands() if band != "A")
        bits = 8 + max(int(np.asarray(band).max()) for band in bands).bit_length()
    return next(depth for depth in BIT_DEPTHS if depth >= min(bits, 16))


Tile = tuple[slice, slice]


def _tiles(image: Image.Image) -> Iterator[tuple[Tile, Image.Image]]:
    """Yield parts of an image, each with its rows and columns."""
    across = min(image.width, _TILE_PIXELS)
    down = max(1, _TILE_PIXELS // across)
    for top in range(0, image.height, down):
        for left in range(0, image.width, across):
            right, bottom = min(left + across, image.width), min(top + down, image.height)
            yield (slice(top, bottom), slice(left, right)), image.crop((left, top, right, bottom))


def _opaque(image: Image.Image, sixteen: _Range) -> Image.Image:
    if image.mode in _GREY_MODES:
        return Image.fromarray(_luminance(image, sixteen))
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    opaque = Image.new("RGB", image.size)
    for (rows, columns), tile in _tiles(image):
        rgba = tile.convert("RGBA")
        on_white = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        opaque.paste(on_white.convert("RGB"), (columns.start, rows.start))
    return opaque


def _luminance(image: Image.Image, sixteen: _Range) -> Grey:
    if image.mode == "L" and not image.has_transparency_data:
        return np.asarray(image)
    grey = np.empty((image.height, image.width), np.uint8)
    if image.mode.startswith("I"):
        key = image.info.get("transparency")
        for tile, part in _tiles(image):
            grey[tile] = np.rint(sixteen.scaled(np.asarray(part)))
        return grey if key is None else _on_contrast(grey, image, partial(_unless, key))
    if not image.has_transparency_data:
        for tile, part in _tiles(image):
            grey[tile] = np.asarray(part.convert("L"))
        return grey
    for tile, part in _tiles(image):
        grey[tile] = np.asarray(part.convert("RGBA").convert("L"))
    return _on_contrast(grey, image, _alpha)


def _unless(key: object, part: Image.Image) -> Grey:
    return np.where(np.asarray(part) == key, np.uint8(0), np.uint8(255))


def _alpha(part: Image.Image) -> Grey:
    rgba = part if part.mode == "RGBA" else part.convert("RGBA")
    return np.asarray(rgba.getchannel("A"))


def _on_contrast(grey: Grey, image: Image.Image, alpha_of: Callable[[Image.Image], Grey]) -> Grey:
    """Composite `grey` on black if its opaque parts are light, else on white, in place."""
    drawn = opaque = 0
    for tile, part in _tiles(image):
        alpha = alpha_of(part)
        if alpha.any():
            drawn += int((grey[tile].astype(np.uint16) * alpha).sum(dtype=np.uint64))
            opaque += int(alpha.sum(dtype=np.uint64))
    ground = 0 if 2 * drawn > 255 * opaque else 255
    for tile, part in _tiles(image):
        alpha = alpha_of(part)
        if not alpha.any():
            grey[tile] = ground
        elif not (alpha == 255).all():
            opacity = alpha / 255
            grey[tile] = np.rint(grey[tile] * opacity + ground * (1.0 - opacity))
    return grey
