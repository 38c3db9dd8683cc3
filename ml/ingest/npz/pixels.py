"""Pixels of an array of images: their layout and their range, and how they become uint8."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.errors import Invalid
from ml.ingest.image_writer import Channels
from ml.ingest.npz.arrays import Member
from ml.ingest.options import Layout, Pixels

CHANNELS = (1, 3, 4)
"""Grey; red, green and blue; the same and opacity."""
SHAPES: dict[Layout, str] = {
    "nhwc": "(rows, height, width, channels)",
    "nchw": "(rows, channels, height, width)",
}
MAXIMA: dict[Pixels, int] = {"0-1": 1, "0-255": 255, "0-4095": 4095, "0-65535": 65535}
DARK = 64
"""Brightest pixel below which fractions from 0 to 255 are taken for another range, and whole
numbers for a mistake worth a warning."""


@dataclass(frozen=True)
class ImageLayout:
    """Sides of an image, and where its channels are."""

    height: int
    width: int
    channels: int
    axis: int | None
    """Axis of the channels in an array of images; None if it has none."""

    @property
    def stored_channels(self) -> Channels:
        """Number of channels without opacity."""
        return 1 if self.channels == 1 else 3

    def pictures(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return images as `(rows, height, width)` or `(rows, height, width, 3)`; where they are
        transparent, white shows through."""
        if self.axis is None:
            return images
        last = np.moveaxis(images, self.axis, -1)
        if self.channels == 1:
            return np.ascontiguousarray(last[..., 0], np.uint8)
        if self.channels == 4:
            opacity = last[..., 3:].astype(np.float32) / 255
            last = np.rint(last[..., :3] * opacity + 255 * (1 - opacity))
        return np.ascontiguousarray(last, np.uint8)


def layout_of(member: Member, requested: Layout | None) -> ImageLayout:
    """Return the layout of an array of images.

    Raises:
        Invalid: there is none, or more than one that fits; the message says how to choose.
    """
    sides = member.shape[1:]
    if not all(sides):
        raise Invalid(f"the images {member.name!r} have the shape {member.shape}: no pixels")
    if len(sides) == 2:
        return ImageLayout(*sides, channels=1, axis=None)
    fitting: dict[Layout, ImageLayout] = {}
    if len(sides) == 3 and sides[2] in CHANNELS:
        fitting["nhwc"] = ImageLayout(sides[0], sides[1], sides[2], axis=3)
    if len(sides) == 3 and sides[0] in CHANNELS:
        fitting["nchw"] = ImageLayout(sides[1], sides[2], sides[0], axis=1)
    if requested in fitting:
        return fitting[requested]
    shown = f"the images {member.name!r} have the shape {member.shape}"
    if requested or not fitting:
        wanted = (
            SHAPES[requested]
            if requested
            else f"(rows, height, width), {' or '.join(SHAPES.values())}"
        )
        raise Invalid(f"{shown}; it must be {wanted} of 1, 3 or 4 channels")
    if len(fitting) > 1:
        ways = " or ".join(
            f"of {one.height}x{one.width} pixels with {one.channels} "
            f"channel{'s' if one.channels > 1 else ''} (layout={name})"
            for name, one in fitting.items()
        )
        raise Invalid(f"{shown}, which may be images {ways}; set layout")
    [only] = fitting.values()
    return only


@dataclass
class PixelScan:
    """Range of the pixels seen so far."""

    name: str
    high: float = 0.0
    whole: bool = True
    rows: int = 0

    def see(self, images: NDArray[Any]) -> None:
        """Add a batch of images.

        Raises:
            Invalid: a pixel is not a finite number, or negative.
        """
        low, high = float(images.min()), float(images.max())
        if not (np.isfinite(low) and np.isfinite(high) and low >= 0):
            flat = images.reshape(len(images), -1)
            is_good = (np.isfinite(flat) & (flat >= 0)).all(1)
            index = int(np.argmin(is_good))
            bad = flat[index][~(np.isfinite(flat[index]) & (flat[index] >= 0))][0]
            raise Invalid(
                f"row {self.rows + index + 1}, array {self.name!r}: the image has the pixel "
                f"{float(bad):g}; pixels are from 0 to 1, to 255 or to 65535"
            )
        self.high = max(self.high, high)
        if images.dtype.kind == "f" and self.whole:
            self.whole = bool((images == np.floor(images)).all())
        self.rows += len(images)


def together(scans: Sequence[PixelScan]) -> PixelScan:
    """Return the range of the pixels of all splits.

    Raises:
        Invalid: those of one split are from 0 to 1, those of another are not.
    """
    darkest, brightest = (
        choose((scan for scan in scans if scan.high), key=lambda scan: scan.high, default=scans[0])
        for choose in (min, max)
    )
    if darkest.high <= 1 < brightest.high:
        raise Invalid(
            f"the images {darkest.name!r} have pixels up to {darkest.high:g}, but "
            f"{brightest.name!r} up to {brightest.high:g}; scale them alike"
        )
    return PixelScan(brightest.name, brightest.high, all(scan.whole for scan in scans))


def range_of(scan: PixelScan, dtype: np.dtype[Any], requested: Pixels | None) -> Pixels:
    """Return the range that pixels are in.

    Raises:
        Invalid: they fit none, or the one that is requested not, or it is not clear which.
    """
    shown = f"the images {scan.name!r} have pixels of {dtype} up to {scan.high:g}"
    if requested is not None:
        if scan.high > MAXIMA[requested]:
            raise Invalid(f"{shown}, which is outside {requested}")
        return requested
    if dtype.kind == "b" or (dtype.kind == "f" and scan.high <= 1):
        return "0-1"
    if 0 < scan.high <= 1:
        raise Invalid(f"{shown}: black and white, or nearly black; set pixels=0-1 or pixels=0-255")
    if scan.high <= 255 and (scan.whole or scan.high >= DARK):
        return "0-255"
    if scan.whole and scan.high <= 65535:
        return "0-4095" if scan.high <= 4095 else "0-65535"
    raise Invalid(
        f"{shown}, which is no usual range; scale them to 0-1 or 0-255, or set pixels to one of "
        f"{', '.join(MAXIMA)}"
    )


def as_bytes(images: NDArray[Any], pixels: Pixels) -> NDArray[np.uint8]:
    """Return images with pixels of the range `pixels` as uint8."""
    if pixels == "0-255":
        return images if images.dtype == np.uint8 else np.rint(images).astype(np.uint8)
    scaled = images.astype(np.float64) * (255 / MAXIMA[pixels])
    return np.rint(scaled, out=scaled).astype(np.uint8)
