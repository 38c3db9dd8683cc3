"""Convert a user's picture to the form of the training images."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from PIL import Image

from ml.errors import Invalid
from ml.images.decode import Grey, Mask, decode
from ml.images.header import ImageHeader, read_header
from ml.images.lines import without_lines
from ml.images.relief import (
    WORKING_SIDE,
    Box,
    Relief,
    blank,
    faintest,
    flattened,
    level_and_noise,
    light_on_dark,
    ndimage,
    otsu,
    reduced,
    reduction,
)
from ml.images.sheet import Page, sheets
from ml.images.strokes import character, inside, others

_VISIBLE: Final = 0.15
"""Minimum foreground value inside the bounding box."""

_DEEPEST: Final = 2
"""Sheets that may lie on each other: a framed page on a desk."""

_SMALLEST: Final = 0.1
"""Minimum size of the foreground on a sheet, as a share of the sheet's."""

_SLENDER: Final = 0.5
_FILLED: Final = 0.75

_THICK: Final = 0.2
_SOLID: Final = 0.5
"""Strokes of a width between these shares of the foreground's longest side are thinned."""

_THINNED: Final = 0.17
"""Width of strokes after thinning."""

_SMALLEST_AS_IS: Final = 0.7
"""Minimum size of the foreground of an image that has the form already, as a share of `box`."""


@dataclass(frozen=True)
class _Found:
    """Foreground, cropped to its bounding box."""

    relief: Relief
    size: float
    """Longest side, as a share of the sheet's."""
    is_whole: bool
    """Whether the edge of the sheet does not cut it."""

    @property
    def is_solid(self) -> bool:
        """Whether it fills its bounding box, like another sheet and unlike a character."""
        slender = min(self.relief.shape) < _SLENDER * max(self.relief.shape)
        return not slender and float((self.relief > 0.5).mean()) > _FILLED


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

        An image of the right size whose foreground has the right size and place is unchanged, or
        inverted if the foreground is dark. In any other, the sheet and the foreground on it are
        found, scaled and placed.

        Raises:
            Invalid: the image is blank.
        """
        if grey.shape == (self.height, self.width):
            light = light_on_dark(grey)
            if self._has_form(light):
                return light
        foreground = _foreground(Page(grey), _DEEPEST).relief
        # Training images that fill their canvas are of things that have no strokes.
        if self.box < min(self.height, self.width):
            foreground = _thinned(foreground)
        return self._placed(self._scaled(foreground))

    def header(self, file: bytes, *, max_pixels: int) -> ImageHeader:
        """Read the header of an image file for `decode`.

        Raises:
            Invalid: as `read_header`.
        """
        return read_header(file, max_pixels=max_pixels).reduced(WORKING_SIDE, WORKING_SIDE)

    def decode(self, header: ImageHeader) -> Grey:
        """Decode an image file into this form.

        Raises:
            Invalid: as `ml.images.decode.decode` and `apply`.
        """
        return self.apply(decode(header))

    def _has_form(self, light: Grey) -> bool:
        """Return whether the foreground has the size and place of those of the training images."""
        if self.box == min(self.height, self.width):
            return True
        span = _bounding_box((light / light.max()).astype(np.float32))
        longest = max(side.stop - side.start for side in span)
        away = max(
            abs(point + side.start - length / 2)
            for point, side, length in zip(
                self._middle(light[span].astype(np.float32)), span, light.shape, strict=True
            )
        )
        return bool(_SMALLEST_AS_IS * self.box <= longest <= self.box + 1 and away <= 1)

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
        return [
            min(max(round(canvas / 2 - point), 0), canvas - length)
            for canvas, length, point in zip(
                (self.height, self.width), foreground.shape, self._middle(foreground), strict=True
            )
        ]

    def _middle(self, foreground: Relief) -> list[float]:
        return _center_of_mass(foreground) if self.center == "mass" else _center_of_box(foreground)


def _center_of_mass(foreground: Relief) -> list[float]:
    """Return (row, column); as in MNIST, a pixel's mass is at its upper left corner."""
    return [
        float(np.average(np.arange(length), weights=foreground.sum(axis=1 - axis)))
        for axis, length in enumerate(foreground.shape)
    ]


def _center_of_box(foreground: Relief) -> list[float]:
    return [length / 2 for length in foreground.shape]


def _foreground(page: Page, depth: int) -> _Found:
    """Return the foreground of a page, or of a sheet on it."""
    for sheet in sheets(page.picture) if depth else ():
        try:
            found = _foreground(sheet, depth - 1)
        except Invalid:  # the sheet is blank
            continue
        if found.is_whole and found.size >= _SMALLEST and not found.is_solid:
            return found
    return _on_page(page)


def _on_page(page: Page) -> _Found:
    light = light_on_dark(page.picture)
    factor = reduction(light.shape)
    relief, strokes = _strokes(reduced(light))
    foreground = _soft(relief, character(strokes), strokes)
    box = _bounding_box(foreground)
    size = factor * max(span.stop - span.start for span in box) / page.extent
    # In a large picture, a small foreground would be too coarse on the reduced copy.
    closeup, within = _surroundings(box, factor)
    relief, strokes = _strokes(reduced(light[closeup]))
    zoom = reduction(light[closeup].shape)
    near = tuple(
        slice(max(0, span.start // zoom - 2), -(-span.stop // zoom) + 2) for span in within
    )
    foreground = _soft(relief, inside(strokes, near), strokes)
    return _Found(foreground[_bounding_box(foreground)], size, _is_whole(page, box, factor))


def _is_whole(page: Page, box: Box, factor: int) -> bool:
    if page.surface is None:
        return True
    rows, columns = (
        slice(max(0, (span.start - 1) * factor), (span.stop + 1) * factor) for span in box
    )
    return bool(page.surface[rows, columns].mean() > 0.98)


def _surroundings(box: Box, factor: int) -> tuple[Box, Box]:
    """Return the part of the image with the foreground and a margin of half its size, and the
    place of the foreground in that part."""
    margin = max(span.stop - span.start for span in box) // 2 + 1
    starts = [max(span.start - margin, 0) for span in box]
    part = tuple(
        slice(start * factor, (span.stop + margin) * factor)
        for start, span in zip(starts, box, strict=True)
    )
    within = tuple(
        slice((span.start - start) * factor, (span.stop - start) * factor)
        for start, span in zip(starts, box, strict=True)
    )
    return part, within


def _bounding_box(foreground: Relief) -> Box:
    visible = np.nonzero(foreground > _VISIBLE)
    return tuple(slice(int(where.min()), int(where.max()) + 1) for where in visible)


def _strokes(light: Grey) -> tuple[Relief, Mask]:
    """Return the contrast of a light-on-dark picture without lines, and what stands out."""
    relief = flattened(light)
    least = faintest(relief)
    relief = without_lines(relief, least)
    return relief, relief > max(otsu(relief), least)


def _soft(relief: Relief, strokes: Mask, found: Mask) -> Relief:
    """Return `strokes` with soft edges on a ground of 0, and nothing else of what was found."""
    if not strokes.any():
        raise blank()
    ground, noise = level_and_noise(relief)
    floor, top = ground + 2 * noise, float(np.percentile(relief[strokes], 80))
    stretched = ((relief - floor) / (top - floor)).clip(0, 1)
    grown = ndimage().maximum_filter(strokes, _edge_width(strokes))
    grown &= ~ndimage().maximum_filter(others(found, strokes), 3)
    return np.where(grown, stretched, 0).astype(np.float32)


def _thinned(foreground: Relief) -> Relief:
    """Return strokes of a marker thinned to those of a pen. A foreground without strokes stays."""
    padded = np.pad(foreground, 1)
    depth = ndimage().distance_transform_edt(padded > 0.5)
    # In a stroke, the distance to its edge is evenly distributed up to half its width; a pixel's
    # is half a pixel more.
    width = (4 * float(depth[depth > 0].mean()) - 2) / max(foreground.shape)
    if not _THICK < width < _SOLID:
        return foreground
    reach = (width - _THINNED) / 2 * max(foreground.shape)
    span = np.arange(-int(reach), int(reach) + 1)
    disc = np.hypot(span[:, None], span) <= reach
    thin = np.asarray(ndimage().grey_erosion(padded, footprint=disc), np.float32)
    # A hair line within the strokes may have been all that was left.
    return thin[_bounding_box(thin)] if (thin > 0.5).any() else foreground


def _edge_width(strokes: Mask) -> int:
    """Return the side of the square that dilates `strokes` to include their soft edges."""
    extent = max(np.ptp(where) for where in np.nonzero(strokes)) + 1
    return 2 * max(1, round(extent / 10)) + 1
