"""Removal of long straight lines: ruled and squared paper, margins, edges."""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.images.decode import Mask
from ml.images.relief import Relief, ndimage

_STEEPEST: Final = 0.22
"""Steepest slope of a line against the picture's sides: about 12 degrees."""
_COVERED: Final = 0.7
"""Minimum share of a line's length that is drawn."""
_THICKEST: Final = 0.05
"""Maximum thickness of a line, as a share of the picture's longest side."""
_DARKER: Final = 1.3
"""Where the contrast exceeds the line's by this factor, something else is drawn over it."""
_MOST_LINES: Final = 60

_Ints = NDArray[np.int64]


def without_lines(relief: Relief, faintest: float) -> Relief:
    """Return `relief` without straight lines from one side of the picture to the opposite side.

    What crosses a line stays: there the foreground is thicker than the line, or darker.
    """
    drawn = relief > faintest
    lines = _lines_across(relief, drawn) | _lines_across(relief.T, drawn.T).T
    if not lines.any():
        return relief
    soft_edges = ndimage().binary_dilation(lines, np.ones((3, 3))) & ~drawn
    return np.where(lines | soft_edges, 0, relief).astype(np.float32)


def _lines_across(relief: Relief, drawn: Mask) -> Mask:
    """Return the pixels of lines from the left side to the right side, and of nothing else."""
    height, width = drawn.shape
    lines = np.zeros_like(drawn)
    reach = max(2, width // 20)
    if not (drawn[:, :reach].any() and drawn[:, -reach:].any()) or min(drawn.shape) < 16:
        return lines
    offsets, lengths = _courses(height, width)
    rows, columns = np.nonzero(drawn)
    room = int(-offsets.min())
    bins = lengths.shape[1]
    counts = np.stack([np.bincount(rows - o[columns] + room, minlength=bins) for o in offsets])
    share = np.where(lengths >= width / 2, counts / lengths.clip(1), 0)
    runs = _vertical_runs(drawn)
    thickest = max(3, _THICKEST * max(drawn.shape))
    across = np.arange(width)
    for _ in range(_MOST_LINES):
        course, start = np.unravel_index(int(share.argmax()), share.shape)
        if share[course, start] < _COVERED:
            break
        path = start - room + offsets[course]
        inside = (path >= 0) & (path < height)
        at = path[inside], across[inside]
        on = drawn[at]
        thickness = float(np.percentile(runs[at][on], 25))
        half = int(thickness / 2) + 1
        # Each line is found by several courses.
        share[:, max(0, start - half) : start + half + 1] = 0
        if thickness > thickest:
            continue
        strength = float(np.percentile(relief[at][on], 75))
        for shift in range(-half, half + 1):
            row = path + shift
            inside = (row >= 0) & (row < height)
            at = row[inside], across[inside]
            thin = runs[at] <= 1.6 * thickness + 1
            lines[at] |= drawn[at] & thin & (relief[at] < _DARKER * strength)
    return lines


@lru_cache(maxsize=16)
def _courses(height: int, width: int) -> tuple[_Ints, _Ints]:
    """Return the rows of each course relative to its middle, `(courses, width)`, and the length
    of each course in the picture by the row of its middle, `(courses, bins)`."""
    count = 2 * round(_STEEPEST * width / 2) + 1
    slopes = np.linspace(-_STEEPEST, _STEEPEST, count)[:, None]
    offsets = np.rint(slopes * (np.arange(width) - (width - 1) / 2)).astype(np.int64)
    room = int(-offsets.min())
    bins = height + 2 * room
    # A course is in the picture at the columns where its row is from 0 to height - 1.
    entered = np.zeros((count, bins + 1), np.int64)
    for index, offset in enumerate(offsets):
        np.add.at(entered[index], room - offset, 1)
        np.add.at(entered[index], room - offset + height, -1)
    return offsets, entered.cumsum(axis=1)[:, :bins]


def _vertical_runs(drawn: Mask) -> _Ints:
    """Return for each drawn pixel the number of drawn pixels above and below it without a gap."""
    rows = np.arange(drawn.shape[0])[:, None]
    gap = np.where(drawn, -1, rows)
    above = np.maximum.accumulate(gap, axis=0)
    below = np.where(drawn, drawn.shape[0], rows)
    below = np.minimum.accumulate(below[::-1], axis=0)[::-1]
    return np.where(drawn, below - above - 1, 0)
