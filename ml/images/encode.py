"""Encode pixels as PNG files."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def png_base64(pixels: NDArray[np.uint8]) -> str:
    """Return uint8 pixels, grey `(height, width)` or RGB `(3, height, width)`, as a PNG file in
    Base64."""
    channels_last = pixels if pixels.ndim == 2 else np.moveaxis(pixels, 0, -1)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(channels_last, np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
