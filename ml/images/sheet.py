"""Search for sheets in a picture: a card on a desk, a page in a frame, a board on a wall."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ml.images.decode import Grey, Mask
from ml.images.relief import Box, border, ndimage, otsu, reduced, reduction, unspotted

_SHEET_SIDE: Final = 400
"""Longest side, in pixels, of the copy of a sheet."""
_SMALLEST: Final = 0.04
"""Minimum share of the picture that a sheet covers."""
_WHOLE: Final = 0.985
"""Share of the picture from which a sheet is the picture itself."""
_NARROWEST: Final = 0.16
"""Minimum width of a sheet, as a share of the picture's longest side."""
_SOLID: Final = 0.95
"""Minimum share of its convex hull that a sheet covers."""
_FOUR_SIDED: Final = 0.85
"""Minimum share of its convex hull that the largest inscribed quadrilateral covers; the share of
an ellipse is 0.64."""
_STEP: Final = 12.0
"""Minimum step in brightness at the edge of a sheet. Shadows and vignettes have no edge."""
_SMALLEST_PICTURE: Final = 64
"""Longest side, in pixels, of a picture that may show more than a sheet."""
_MOST_SHEETS: Final = 3
_EDGE: Final = 3
"""Pixels at the edge of a sheet that are not looked at."""
_MOST_CORNERS: Final = 40


@dataclass(frozen=True)
class Page:
    """A picture of nothing but paper and what is drawn on it."""

    picture: Grey
    surface: Mask | None = None
    """Pixels of the sheet; the others continue its colour. None if all are."""
    edge: int = _EDGE

    @property
    def extent(self) -> float:
        """Side of a square of the same area as the sheet, in pixels."""
        area = self.picture.size if self.surface is None else np.count_nonzero(self.surface)
        return float(np.sqrt(area))


def sheets(picture: Grey) -> Iterator[Page]:
    """Yield the sheets in `picture`, the largest first, without the picture itself."""
    small = reduced(picture)
    if max(small.shape) < _SMALLEST_PICTURE:
        return
    for surface in _surfaces(unspotted(small)):
        yield _page(picture, small, surface)


def _surfaces(small: Grey) -> list[Mask]:
    """Return the filled surfaces of four-sided regions with sharp edges."""
    seen: list[int] = []
    found: list[tuple[float, Mask]] = []
    for mask in _levels(small):
        labels, _ = ndimage().label(mask)
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        for label in np.argsort(-areas)[:3]:
            part = int(areas[label])
            if part < _SMALLEST * small.size:
                break
            # Neighbouring thresholds find the same regions.
            if any(abs(part - other) < 0.01 * part for other in seen):
                continue
            seen.append(part)
            surface = _opened(_filled(labels == label))
            rank = _rank(surface, small)
            if rank > 0:
                found.append((rank, surface))
    found.sort(key=lambda pair: -pair[0])
    return [surface for _, surface in found[:_MOST_SHEETS]]


def _levels(small: Grey) -> Iterator[Mask]:
    """Yield masks of what is lighter, and what is darker, than Otsu's thresholds of the whole and
    of its parts; also with narrow gaps closed."""
    middle = otsu(small)
    upper, lower = otsu(small[small > middle]), otsu(small[small <= middle])
    closed = ndimage().grey_closing(small, (5, 5))
    opened = ndimage().grey_opening(small, (5, 5))
    for level in (middle, upper, lower):
        yield small > level
        yield closed > level
        yield small <= level
        yield opened <= level


def _filled(mask: Mask) -> Mask:
    """Return `mask` with its holes."""
    labels, count = ndimage().label(~mask)
    is_outside = np.zeros(count + 1, np.bool_)
    is_outside[labels[border(labels)]] = True
    is_outside[0] = False
    return np.asarray(~is_outside[labels])


def _opened(mask: Mask) -> Mask:
    """Remove thin spurs, such as a line that leads from a sheet to another."""
    return _grown(_grown(mask, -2), 2)


def _grown(mask: Mask, pixels: int) -> Mask:
    """Return `mask` with as many pixels more, or less, on all sides but those of the picture."""
    method = ndimage().maximum_filter if pixels > 0 else ndimage().minimum_filter
    side = 2 * abs(pixels) + 1
    return np.asarray(method(mask.view(np.uint8), side, mode="nearest")).view(np.bool_)


def _rank(surface: Mask, small: Grey) -> float:
    """Return how large a sheet is, and how sharp its edge; 0 for what is not a sheet."""
    area = int(np.count_nonzero(surface))
    if not _SMALLEST * surface.size <= area <= _WHOLE * surface.size:
        return 0.0
    hull_area, four_sided = _hull(surface)
    if area < _SOLID * hull_area or four_sided < _FOUR_SIDED * hull_area:
        return 0.0
    depth = ndimage().distance_transform_cdt(np.pad(surface, 1))
    if 2 * int(depth.max()) < max(4 * _EDGE, _NARROWEST * max(surface.shape)):
        return 0.0
    step = _step(surface, small)
    return area * step if step >= _STEP else 0.0


def _step(surface: Mask, small: Grey) -> float:
    """Return the difference in brightness between the two sides of the edge."""
    inner = _grown(surface, -2) & ~_grown(surface, -4)
    outer = _grown(surface, 3) & ~_grown(surface, 1)
    if not inner.any() or not outer.any():
        return 0.0
    return float(abs(np.median(small[inner]) - np.median(small[outer])))


def _hull(surface: Mask) -> tuple[float, float]:
    """Return the areas of the convex hull and of the largest quadrilateral in it."""
    from scipy.spatial import ConvexHull

    rim = surface & ~ndimage().binary_erosion(surface)  # also at the sides of the picture
    points = np.argwhere(rim).astype(np.float64)
    if min(np.ptp(points, axis=0)) < 2:
        return float("inf"), 0.0
    hull: Any = ConvexHull(points)
    corners: NDArray[np.float64] = points[hull.vertices]
    if len(corners) > _MOST_CORNERS:
        corners = corners[np.linspace(0, len(corners) - 1, _MOST_CORNERS).astype(int)]
    diagonals = corners[:, None] - corners
    # The cross product is twice the area of a triangle; its sign is the side of the diagonal.
    twice = (
        diagonals[:, :, None, 0] * diagonals[:, None, :, 1]
        - diagonals[:, :, None, 1] * diagonals[:, None, :, 0]
    )
    largest = (twice.max(axis=2) - twice.min(axis=2)).max() / 2
    # Corners are centres of pixels.
    return float(hull.volume), float(largest)


def _page(picture: Grey, small: Grey, surface: Mask) -> Page:
    """Return the part of `picture` with the sheet; around it, the colour of its edge goes on."""
    factor = reduction(picture.shape)
    [box] = ndimage().find_objects(surface.astype(np.int32))
    window = tuple(slice(span.start * factor, span.stop * factor) for span in box)
    part = reduced(picture[window], _SHEET_SIDE)
    inner = _grown(np.pad(surface, 1), -_EDGE)[1:-1, 1:-1]
    scale = reduction(picture[window].shape, _SHEET_SIDE)
    rows, columns = _source(part.shape, scale, factor, box, small.shape)
    inside = inner[np.ix_(rows, columns)]
    colour = _paper(small, inner)
    _, (down, right) = ndimage().distance_transform_edt(~inner, return_indices=True)
    around = colour[down, right][np.ix_(rows, columns)]
    return Page(np.where(inside, part, around).astype(np.uint8), inside)


def _source(
    shape: tuple[int, ...], scale: int, factor: int, box: Box, most: tuple[int, ...]
) -> list[NDArray[np.intp]]:
    """Return the rows and columns of the reduced picture under those of a part of it."""
    return [
        np.minimum((np.arange(length) * scale + scale // 2) // factor + span.start, limit - 1)
        for length, span, limit in zip(shape, box, most, strict=True)
    ]


def _paper(small: Grey, inner: Mask) -> Grey:
    """Return the colours of the sheet without what is drawn on it, which is the rarer shade."""
    level = float(np.median(small[inner]))
    spread = small[inner].astype(np.float32) - level
    method = ndimage().grey_closing if -spread.min() > spread.max() else ndimage().grey_opening
    return np.asarray(method(np.where(inner, small, np.uint8(level)), (15, 15)))
