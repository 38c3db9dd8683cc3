"""Decode PNG and JPEG files into arrays of pixels."""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from pydantic import AliasChoices, Field

from ml.errors import Invalid
from ml.strict import Frozen

Grey = NDArray[np.uint8]
Picture = NDArray[np.uint8]
"""Uint8 pixels: grey `(height, width)` or RGB `(height, width, 3)`."""
Mask = NDArray[np.bool_]

_READERS: Final[dict[bytes, type[ImageFile]]] = {
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"\xff\xd8\xff": JpegImageFile,
}
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")


def decode(data: bytes, *, max_pixels: int) -> Grey:
    """Return the luminance of a PNG or JPEG file as a uint8 array (height, width).

    Any colour mode is read; 16-bit samples are scaled to 8 bits; EXIF orientation is applied;
    transparent parts become black or white, whichever contrasts with the opaque parts.

    Raises:
        Invalid: `data` is empty, neither PNG nor JPEG, truncated or corrupt, or the image has more
            than `max_pixels` pixels; the size is checked before any pixel is decoded.
    """
    with _no_warnings():
        image = _opened(data)
        _check_size(image, max_pixels)
        return _luminance(_upright(image))


def decode_picture(data: bytes, *, max_pixels: int) -> Picture:
    """Return the pixels of a PNG or JPEG file, in RGB unless its colour mode is grey.

    Like `decode`, except that transparent parts of a coloured image become white.

    Raises:
        Invalid: as `decode`.
    """
    with _no_warnings():
        image = _opened(data)
        _check_size(image, max_pixels)
        upright = _upright(image)
        if upright.mode in _GREY_MODES:
            return _luminance(upright)
        if not upright.has_transparency_data:
            return np.array(upright.convert("RGB"))
        rgba = upright.convert("RGBA")
        return np.array(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba))[..., :3]


class PictureForm(Frozen):
    """Images resized to one size and otherwise unchanged."""

    height: int
    width: int
    channels: Literal[1, 3] = Field(validation_alias=AliasChoices("channels", "planes"))
    """Number of channels: 1 for grey, 3 for RGB. `planes` in artifacts of earlier versions."""

    def apply(self, picture: Picture) -> NDArray[np.uint8]:
        """Return a picture of any size as uint8 `(height, width)` or `(3, height, width)`."""
        image = Image.fromarray(picture).convert("L" if self.channels == 1 else "RGB")
        if image.size != (self.width, self.height):
            image = image.resize((self.width, self.height), Image.Resampling.BILINEAR)
        pixels = np.array(image)
        return pixels if self.channels == 1 else np.ascontiguousarray(np.moveaxis(pixels, -1, 0))

    def read(self, file: bytes, *, max_pixels: int) -> NDArray[np.uint8]:
        """Decode a PNG or JPEG file into this form.

        Raises:
            Invalid: as `decode`.
        """
        return self.apply(decode_picture(file, max_pixels=max_pixels))


_warnings_lock = threading.Lock()


@contextmanager
def _no_warnings() -> Iterator[None]:
    # `catch_warnings` replaces state that all threads share, so only one may run at a time.
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _opened(data: bytes) -> ImageFile:
    # The readers are called directly because `Image.open` has a global size limit of its own, and
    # an error that does not give the size.
    for signature, reader in _READERS.items():
        if data.startswith(signature):
            try:
                return reader(io.BytesIO(data))
            except Exception as error:  # Pillow documents no set of exceptions for corrupt files
                raise _corrupt(error) from error
    raise Invalid("not a PNG or JPEG image" if data else "the image file is empty")


def _check_size(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise Invalid(
            f"the image is too large: {image.width}x{image.height} is"
            f" {image.width * image.height} pixels, at most {max_pixels} are allowed"
        )


def _upright(image: Image.Image) -> Image.Image:
    try:
        image.load()
        return ImageOps.exif_transpose(image)
    except Exception as error:  # as in `_opened`
        raise _corrupt(error) from error


def _corrupt(error: Exception) -> Invalid:
    return Invalid(f"the image is truncated or corrupt: {error}")


def _luminance(image: Image.Image) -> Grey:
    if image.mode.startswith("I"):
        grey = _eight_bits(image)
        transparent = image.info.get("transparency")
        return grey if transparent is None else _on_contrast(grey, np.asarray(image) != transparent)
    if not image.has_transparency_data:
        return np.array(image.convert("L"))
    rgba = image.convert("RGBA")
    return _on_contrast(np.asarray(rgba.convert("L")), np.asarray(rgba.getchannel("A")) / 255)


def _eight_bits(image: Image.Image) -> Grey:
    return np.rint(np.asarray(image) / 257).astype(np.uint8)


def _on_contrast(grey: Grey, opacity: NDArray[np.float64] | Mask) -> Grey:
    """Composite `grey` on black if its opaque parts are light, else on white."""
    drawn_is_light = (grey * opacity).sum() > 127.5 * opacity.sum()
    ground = 0 if drawn_is_light else 255
    return np.rint(grey * opacity + ground * (1.0 - opacity)).astype(np.uint8)
