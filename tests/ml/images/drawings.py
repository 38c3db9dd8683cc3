"""A drawn 7 as an image, and image files."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ml.images.decode import decode
from ml.images.header import read_header

Grey = NDArray[np.uint8]
MAX_PIXELS = 1_000_000

SEVEN = [(0.0, 0.0), (0.7, 0.0), (0.3, 1.0)]


def seven(
    size: tuple[int, int] = (280, 280),
    at: tuple[int, int] = (90, 60),
    tall: int = 160,
    pen: int = 22,
    ground: int = 255,
    foreground: int = 0,
) -> Image.Image:
    """A thick 7 of height `tall`, its upper left end at `at` (x, y), on a `size` (w, h) page."""
    page = Image.new("L", size, ground)
    corners = [(at[0] + x * tall, at[1] + y * tall) for x, y in SEVEN]
    ImageDraw.Draw(page).line(corners, fill=foreground, width=pen, joint="curve")
    return page


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def read(data: bytes) -> Grey:
    return decode(read_header(data, max_pixels=MAX_PIXELS))


def difference(one: Grey, other: Grey) -> float:
    return float(np.abs(one.astype(float) - other).mean())
