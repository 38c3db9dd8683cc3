"""Choice of the strokes that are a character, among stains, holes, fingers and specks."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.images.decode import Mask
from ml.images.relief import Box, ndimage

_SPECK_SHARE: Final = 0.05
"""A patch with less than this share of the largest patch's pixels is a speck."""

_SPECK_PIXELS: Final = 3
"""A patch of at most this many pixels of the reduced copy is a speck."""

_MOST_PATCHES: Final = 40

_NEAR: Final = 0.2
"""Maximum distance of two parts of a character, as a share of its longest side."""

_NEAR_CORNER: Final = 0.08

_FLAT: Final = 2.5
"""Minimum ratio of width to height of a dash."""


@dataclass(frozen=True)
class _Patch:
    """Connected pixels."""

    label: int
    box: Box
    area: int
    radius: float
    """Radius of the largest circle inside."""

    @property
    def size(self) -> tuple[int, int]:
        return self.box[0].stop - self.box[0].start, self.box[1].stop - self.box[1].start

    @property
    def is_flat(self) -> bool:
        height, width = self.size
        return width > _FLAT * height

    @property
    def is_blot(self) -> bool:
        height, width = self.size
        return self.area > 0.6 * height * width and max(self.size) < 1.6 * min(self.size)

    def is_cut(self, shape: tuple[int, ...]) -> bool:
        """Return whether the side of the picture cuts it, and it does not fill the picture."""
        touches = any(
            span.start <= 1 or span.stop >= length - 1
            for span, length in zip(self.box, shape, strict=True)
        )
        tall, wide = (size / length for size, length in zip(self.size, shape, strict=True))
        return touches and not (max(tall, wide) >= 0.85 and min(tall, wide) >= 0.3)

    def likeness(self, shape: tuple[int, ...]) -> float:
        """Return how much it is like a character: large, whole, in the middle, of strokes."""
        away = max(
            abs((span.start + span.stop) / length - 1)
            for span, length in zip(self.box, shape, strict=True)
        )
        return float(
            max(self.size)
            * (1 - 0.4 * away)
            * (0.25 if self.is_cut(shape) else 1)
            * (0.35 if self.is_flat else 1)
            * (0.4 if self.is_blot else 1)
        )


def character(mask: Mask) -> Mask:
    """Return the patches of `mask` that are parts of the character: the one most like one, and
    those near it."""
    labels = patches(mask)
    found = _sorted(mask, labels)
    if not found:
        return np.zeros_like(mask)
    main, *others = sorted(found, key=lambda patch: -patch.likeness(mask.shape))
    kept, box = [main.label], main.box
    for _ in range(3):
        near = [patch for patch in others if _belongs(patch, main, box, mask.shape)]
        if not near:
            break
        others = [patch for patch in others if patch not in near]
        kept += [patch.label for patch in near]
        for patch in near:
            box = _union(box, patch.box)
    return np.isin(labels, kept)


def inside(mask: Mask, box: Box) -> Mask:
    """Return the patches of `mask` that lie within `box` for the most part, without specks."""
    labels = patches(mask)
    areas = np.bincount(labels.ravel())
    within = np.bincount(labels[box].ravel(), minlength=len(areas))
    kept = 2 * within > areas
    kept[0] = False
    kept &= areas > _speck(int(areas[kept].max(initial=0)))
    return np.asarray(kept[labels])


def others(mask: Mask, chosen: Mask) -> Mask:
    """Return the patches of `mask` that are neither `chosen` nor specks."""
    labels = patches(mask & ~chosen)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return np.asarray((areas > _speck(int(np.count_nonzero(chosen))))[labels])


def patches(mask: Mask) -> NDArray[np.int32]:
    """Label the 8-connected patches of `mask` from 1; the rest is 0."""
    labels, _ = ndimage().label(mask, np.ones((3, 3)))
    return np.asarray(labels)


def _sorted(mask: Mask, labels: NDArray[np.int32]) -> list[_Patch]:
    """Return the patches that are not specks, the largest first."""
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    speck = _speck(int(areas.max()))
    chosen = [int(label) for label in np.argsort(-areas)[:_MOST_PATCHES] if areas[label] > speck]
    if not chosen:
        return []
    boxes = ndimage().find_objects(labels)
    depth = ndimage().distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    radii = ndimage().maximum(depth, labels, chosen)
    return [
        _Patch(label, boxes[label - 1], int(areas[label]), float(radius))
        for label, radius in zip(chosen, radii, strict=True)
    ]


def _speck(largest: int) -> float:
    return max(_SPECK_PIXELS, _SPECK_SHARE * largest)


def _belongs(patch: _Patch, main: _Patch, box: Box, shape: tuple[int, ...]) -> bool:
    """Return whether `patch` is a part of the character with the patch `main`, now within `box`."""
    down, across = (
        max(0, one.start - other.stop, other.start - one.stop)
        for one, other in zip(patch.box, box, strict=True)
    )
    longest = max(span.stop - span.start for span in box)
    # A part of a character is beside, above or below the rest, seldom off its corner.
    nearest = _NEAR_CORNER if down and across else _NEAR
    is_underline = patch.is_flat and patch.box[0].start >= box[0].stop - 1
    is_stroke = patch.radius <= 1.6 * main.radius + 1
    return (
        float(np.hypot(down, across)) <= nearest * longest
        and is_stroke
        and not is_underline
        and not patch.is_cut(shape)
    )


def _union(one: Box, other: Box) -> Box:
    return tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
