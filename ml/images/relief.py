"""Contrast of a picture with its ground, whatever the light."""

from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ml.errors import Invalid
from ml.images.decode import Grey, Mask

Relief = NDArray[np.float32]
"""Contrast of each pixel with the ground: 0 is ground, 1 is full foreground."""
Box = tuple[slice, ...]
"""Rows and columns of a part of a picture."""

WORKING_SIDE: Final = 200
"""Longest side, in pixels, of the reduced copies that the foreground is searched on."""

_FAINTEST_FOREGROUND: Final = 0.08
"""Minimum contrast of the foreground, as a share of the ground's brightness."""

_NOISE_MARGIN: Final = 5.0
"""Minimum contrast of the foreground, in standard deviations of the ground's noise."""

_CURVED: Final = 0.5
"""Light is curved if that leaves less than this share of what a slope leaves at the border."""

_NARROW: Final = 0.5
"""A picture with a lower ratio of its sides may be cropped to its strokes."""

_DISTINCT: Final = 3.1
"""Minimum distance of two shades, in standard deviations; the halves of noise have less."""

_Degree = Literal[1, 2]


def blank() -> Invalid:
    """Return the refusal of a picture without a foreground."""
    return Invalid("the image is blank: nothing stands out from the background")


def reduction(shape: tuple[int, ...], side: int = WORKING_SIDE) -> int:
    """Return the integer factor that reduces the longest side to at most `side`."""
    return -(-max(shape) // side)


def reduced(grey: Grey, side: int = WORKING_SIDE) -> Grey:
    """Return a copy whose longest side is at most `side`."""
    # Pillow would copy a part of an image value by value, and keep other threads waiting.
    contiguous = np.ascontiguousarray(grey)
    return np.asarray(Image.fromarray(contiguous).reduce(reduction(grey.shape, side)))


def light_on_dark(grey: Grey) -> Grey:
    """Return `grey`, inverted if its foreground is darker than the ground at its border."""
    if grey.min() == grey.max():
        raise blank()
    small = reduced(grey)
    departure = unspotted(small) - _surface_through_border(small, 1)
    return 255 - grey if -departure.min() > departure.max() else grey


def unspotted(grey: Grey) -> Grey:
    """Blur slightly, so that a hot or dead pixel counts less than a stroke."""
    return np.asarray(Image.fromarray(grey).filter(ImageFilter.BoxBlur(1)))


def flattened(light: Grey) -> Relief:
    """Return the contrast of a light-on-dark image with its local ground, as a share of it."""
    # Illumination multiplies the paper's brightness, so it is divided out. The image is inverted
    # because the paper is the light part.
    paper = 255.0 - light.astype(np.float32)
    even = paper / _lighting(paper).clip(1)
    # A picture cropped to its strokes may be narrower than they are: paper is added around it.
    room = (max(light.shape) - min(light.shape)) // 2 if _is_narrow(light.shape) else 0
    padded = np.pad(even, room, constant_values=1)
    wide = min(padded.shape) // 4 * 2 + 1
    ground = ndimage().grey_closing(padded, (wide, wide), mode="nearest")
    ground = ground[room : room + light.shape[0], room : room + light.shape[1]]
    return np.asarray(1 - even / ground.clip(1e-3), np.float32)


def faintest(relief: Relief) -> float:
    """Return the least contrast that is not noise."""
    level, noise = level_and_noise(relief)
    return level + max(_NOISE_MARGIN * noise, _FAINTEST_FOREGROUND)


def border(image: NDArray[np.generic]) -> Mask:
    """Return the outermost pixels."""
    mask = np.ones(image.shape, np.bool_)
    mask[1:-1, 1:-1] = False
    return mask


def _is_narrow(shape: tuple[int, ...]) -> bool:
    return min(shape) < _NARROW * max(shape)


def _lighting(paper: Relief) -> Relief:
    """Return the light on the paper: a plane, or a curved surface if that is far closer."""
    edge = border(paper)
    if _is_narrow(paper.shape):
        return np.full_like(paper, np.percentile(paper[edge], 90))
    plane, curved = (_surface_through_border(paper, degree) for degree in (1, 2))
    departures = [float(np.median(np.abs(light - paper)[edge])) for light in (plane, curved)]
    is_curved = departures[1] + 1 < _CURVED * departures[0] and curved.min() > 0
    return curved if is_curved else plane


def _surface_through_border(image: NDArray[np.generic], degree: _Degree) -> Relief:
    """Return the polynomial in rows and columns fitted to the border's pixels, without foreground
    outliers.

    A morphological closing alone mistakes a slope at the darker edge for foreground.
    """
    rows, columns = np.indices(image.shape, np.float32) / max(image.shape)
    powers = [np.ones_like(rows), rows, columns, rows * columns, rows**2, columns**2]
    terms = np.stack(powers[: 3 if degree == 1 else 6], axis=-1)
    edge = border(image)
    points, values = terms[edge], image[edge].astype(np.float32)
    inliers = np.ones(values.shape, np.bool_)
    for _ in range(4):
        surface = np.linalg.lstsq(points[inliers], values[inliers])[0]
        distance = np.abs(points @ surface - values)
        inliers = distance <= 2 * np.median(distance) + 1
    return np.asarray(terms @ surface, np.float32)


def level_and_noise(relief: Relief) -> tuple[float, float]:
    """Return median and standard deviation of the ground.

    The ground is most of the image, unless thick strokes fill the image and plainly stand out.
    """
    threshold = otsu(relief)
    if _fill(relief, threshold):
        # Much of the ground is soft edges: only the lowest values are pure.
        lowest, low = np.percentile(relief[relief <= threshold], (5, 25))
        return float(low), float(low - lowest)
    level = np.median(relief)
    # Half of a normal distribution lies within 0.6745 standard deviations.
    return float(level), float(np.median(np.abs(relief - level)) / 0.6745)


def _fill(relief: Relief, threshold: float) -> bool:
    """Return whether strokes above `threshold` fill the image and plainly stand out."""
    low, high = relief[relief <= threshold], relief[relief > threshold]
    if len(low) > 2 * len(high) or not len(high):
        return False
    within = np.sqrt((low.var() * len(low) + high.var() * len(high)) / relief.size)
    return bool(high.mean() - low.mean() > _DISTINCT * within)


def otsu(values: NDArray[np.generic]) -> float:
    """Return Otsu's threshold, which minimizes the variance within the two parts.

    The lowest and the highest bin are never empty, so neither part is.
    """
    if not values.size or np.ptp(values) == 0:
        return float(values.flat[0]) if values.size else 0.0
    counts, edges = np.histogram(values, bins=256)
    centers = (edges[:-1] + edges[1:]) / 2
    below, total = counts.cumsum()[:-1], counts.sum()
    sum_below, sum_total = (counts * centers).cumsum()[:-1], (counts * centers).sum()
    between = (sum_total * below - total * sum_below) ** 2 / (below * (total - below))
    return float(edges[1 + between.argmax()])


def ndimage() -> Any:
    """Return `scipy.ndimage`, imported late: every process imports this module, and few decode
    pictures."""
    from scipy import ndimage

    return ndimage
