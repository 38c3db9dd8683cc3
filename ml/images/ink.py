"""Convert a user's picture to the form of the training images."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ml.errors import Invalid
from ml.images.decode import Grey, Mask, decode
from ml.images.header import ImageHeader, read_header

Relief = NDArray[np.float32]
"""Contrast of each pixel with the ground: 0 is ground, 1 is full foreground."""

_WORKING_SIDE: Final = 200
"""Longest side, in pixels, of the reduced copies that the foreground is searched on."""

_FAINTEST_FOREGROUND: Final = 0.08
"""Minimum contrast of the foreground, as a share of the ground's brightness."""

_NOISE_MARGIN: Final = 5.0
"""Minimum contrast of the foreground, in standard deviations of the ground's noise."""

_SPECK_SHARE: Final = 0.05
"""A patch with less than this share of the largest patch's pixels is a speck."""

_SPECK_PIXELS: Final = 3
"""A patch of at most this many pixels of the reduced copy is a speck."""

_VISIBLE: Final = 0.15
"""Minimum foreground value inside the bounding box."""


@dataclass(frozen=True)
class ImageForm:
    """Form of the images of a training set: light foreground on dark ground, as in MNIST.

    `height` and `width` are those of the canvas and `box` is the longest side of the foreground,
    all in pixels. `center` is the point of the foreground placed at the centre of the canvas: its
    centre of mass or the centre of its bounding box.

    Raises:
        Invalid: `box` is less than 1 or does not fit on the canvas; `loc` is `("box",)`.
    """

    height: int = 28
    width: int = 28
    box: int = 20
    center: Literal["mass", "box"] = "mass"

    def __post_init__(self) -> None:
        if not 1 <= self.box <= min(self.height, self.width):
            raise Invalid(f"must be from 1 to {min(self.height, self.width)}", ("box",))

    def apply(self, grey: Grey) -> Grey:
        """Convert a uint8 image (any height, any width) to this form, uint8 (height, width).

        An image with a dark foreground is inverted. An image of the right size is otherwise
        unchanged; in any other, the foreground is found, scaled and placed.

        Raises:
            Invalid: the image is blank.
        """
        light = _light_on_dark(grey)
        if light.shape == (self.height, self.width):
            return light
        return self._placed(self._scaled(_foreground(light)))

    def header(self, file: bytes, *, max_pixels: int) -> ImageHeader:
        """Read the header of a PNG or JPEG file for `decode`.

        Raises:
            Invalid: as `read_header`.
        """
        return read_header(file, max_pixels=max_pixels).reduced(_WORKING_SIDE, _WORKING_SIDE)

    def decode(self, header: ImageHeader) -> Grey:
        """Decode an image file into this form.

        Raises:
            Invalid: as `ml.images.decode.decode` and `apply`.
        """
        return self.apply(decode(header))

    def _scaled(self, foreground: Relief) -> Relief:
        scale = self.box / max(foreground.shape)
        height, width = (max(1, round(side * scale)) for side in foreground.shape)
        image = Image.fromarray(foreground).resize((width, height), Image.Resampling.BICUBIC)
        scaled = np.asarray(image).clip(0)
        # Thin strokes fade when scaled down, but reach full foreground in the training images.
        return np.asarray(scaled / scaled.max(), np.float32)

    def _placed(self, foreground: Relief) -> Grey:
        canvas = np.zeros((self.height, self.width), np.uint8)
        window = tuple(
            slice(start, start + length)
            for start, length in zip(self._corner(foreground), foreground.shape, strict=True)
        )
        canvas[window] = np.rint(foreground * 255)
        return canvas

    def _corner(self, foreground: Relief) -> list[int]:
        """Return the row and column on the canvas of the first pixel of `foreground`."""
        middle = (
            _center_of_mass(foreground) if self.center == "mass" else _center_of_box(foreground)
        )
        return [
            min(max(round(canvas / 2 - point), 0), canvas - length)
            for canvas, length, point in zip(
                (self.height, self.width), foreground.shape, middle, strict=True
            )
        ]


def _center_of_mass(foreground: Relief) -> list[float]:
    """Return (row, column); as in MNIST, a pixel's mass is at its upper left corner."""
    return [
        float(np.average(np.arange(length), weights=foreground.sum(axis=1 - axis)))
        for axis, length in enumerate(foreground.shape)
    ]


def _center_of_box(foreground: Relief) -> list[float]:
    return [length / 2 for length in foreground.shape]


def _light_on_dark(grey: Grey) -> Grey:
    """Return `grey`, inverted if its foreground is darker than the ground at its border."""
    if grey.min() == grey.max():
        raise _blank()
    small = _reduced(grey)
    departure = _unspotted(small) - _plane_through_border(small)
    return 255 - grey if -departure.min() > departure.max() else grey


def _unspotted(grey: Grey) -> Grey:
    """Blur slightly, so that a hot or dead pixel counts less than a stroke."""
    return np.asarray(Image.fromarray(grey).filter(ImageFilter.BoxBlur(1)))


def _blank() -> Invalid:
    return Invalid("the image is blank: nothing stands out from the background")


def _border(image: NDArray[np.generic]) -> Mask:
    border = np.ones(image.shape, np.bool_)
    border[1:-1, 1:-1] = False
    return border


def _reduction(shape: tuple[int, ...]) -> int:
    """Return the integer factor that reduces the longest side to at most `_WORKING_SIDE`."""
    return -(-max(shape) // _WORKING_SIDE)


def _reduced(grey: Grey) -> Grey:
    # Pillow would copy a part of an image value by value, and keep other threads waiting.
    contiguous = np.ascontiguousarray(grey)
    return np.asarray(Image.fromarray(contiguous).reduce(_reduction(grey.shape)))


def _foreground(light: Grey) -> Relief:
    """Return the foreground of a light-on-dark image, cropped to its bounding box."""
    # In a large picture, a small foreground would be too coarse on the reduced copy.
    closeup = _reduced(light[_surroundings(light)])
    foreground = _foreground_relief(closeup)
    return foreground[_bounding_box(foreground)]


def _surroundings(light: Grey) -> tuple[slice, ...]:
    """Return the part of the image with the foreground and a margin of half its size."""
    factor = _reduction(light.shape)
    found = _bounding_box(_foreground_relief(_reduced(light)))
    margin = max(span.stop - span.start for span in found) // 2 + 1
    return tuple(
        slice(max(span.start - margin, 0) * factor, (span.stop + margin) * factor) for span in found
    )


def _bounding_box(foreground: Relief) -> tuple[slice, ...]:
    visible = np.nonzero(foreground > _VISIBLE)
    return tuple(slice(int(where.min()), int(where.max()) + 1) for where in visible)


def _foreground_relief(light: Grey) -> Relief:
    """Return the foreground with soft edges on a ground of 0, without shadows, noise or specks."""
    relief = _flattened(light)
    ground, noise = _level_and_noise(relief)
    faintest = ground + max(_NOISE_MARGIN * noise, _FAINTEST_FOREGROUND)
    strokes = _without_specks(relief > max(_otsu(relief), faintest))
    if not strokes.any():
        raise _blank()
    floor, top = ground + 2 * noise, float(np.percentile(relief[strokes], 80))
    stretched = ((relief - floor) / (top - floor)).clip(0, 1)
    grown = _ndimage().maximum_filter(strokes, _edge_width(strokes))
    return np.where(grown, stretched, 0).astype(np.float32)


def _edge_width(strokes: Mask) -> int:
    """Return the side of the square that dilates `strokes` to include their soft edges."""
    extent = max(np.ptp(where) for where in np.nonzero(strokes)) + 1
    return 2 * max(1, round(extent / 10)) + 1


def _flattened(light: Grey) -> Relief:
    """Return the contrast of a light-on-dark image with its local ground, as a share of it."""
    # Illumination multiplies the paper's brightness, so it is divided out. The image is inverted
    # because the paper is the light part.
    paper = 255.0 - light.astype(np.float32)
    even = paper / _plane_through_border(paper).clip(1)
    wide = min(light.shape) // 4 * 2 + 1
    ground = _ndimage().grey_closing(even, (wide, wide), mode="nearest")
    return np.asarray(1 - even / ground.clip(1e-3), np.float32)


def _plane_through_border(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the plane (rows, columns) fitted to the border's pixels, without foreground outliers.

    A morphological closing alone mistakes a slope at the darker edge for foreground.
    """
    rows, columns = np.indices(image.shape, np.float32) / max(image.shape)
    terms = np.stack([np.ones_like(rows), rows, columns], axis=-1)
    border = _border(image)
    points, values = terms[border], image[border].astype(np.float32)
    inliers = np.ones(values.shape, np.bool_)
    for _ in range(4):
        plane = np.linalg.lstsq(points[inliers], values[inliers])[0]
        distance = np.abs(points @ plane - values)
        inliers = distance <= 2 * np.median(distance) + 1
    return np.asarray(terms @ plane, np.float32)


def _level_and_noise(relief: Relief) -> tuple[float, float]:
    """Return median and standard deviation of the ground, which is most of the image."""
    level = np.median(relief)
    # Half of a normal distribution lies within 0.6745 standard deviations.
    return float(level), float(np.median(np.abs(relief - level)) / 0.6745)


def _otsu(relief: Relief) -> float:
    """Return Otsu's threshold, which minimizes the variance within the two parts.

    The lowest and the highest bin are never empty, so neither part is.
    """
    if np.ptp(relief) == 0:
        return float(relief[0, 0])
    counts, edges = np.histogram(relief, bins=256)
    centers = (edges[:-1] + edges[1:]) / 2
    below, total = counts.cumsum()[:-1], counts.sum()
    sum_below, sum_total = (counts * centers).cumsum()[:-1], (counts * centers).sum()
    between = (sum_total * below - total * sum_below) ** 2 / (below * (total - below))
    return float(edges[1 + between.argmax()])


def _without_specks(mask: Mask) -> Mask:
    labels = _patches(mask)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    large = areas > max(_SPECK_PIXELS, _SPECK_SHARE * areas.max())
    return np.asarray(large[labels])


def _patches(mask: Mask) -> NDArray[np.int32]:
    """Label the 8-connected patches of `mask` from 1; the rest is 0."""
    labels, _ = _ndimage().label(mask, np.ones((3, 3)))
    return np.asarray(labels)


def _ndimage() -> Any:
    # Imported late: every process imports this module, and few decode pictures.
    from scipy import ndimage

    return ndimage
