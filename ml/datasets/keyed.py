"""Division of groups, or of times, whose rows stay together.

Every function takes the number of rows of each group or time, int64 `(values,)`, and returns the
part of each, int64 `(values,)`.
"""

from collections.abc import Sequence
from heapq import heapify, heapreplace

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

MAX_BITS = 2**27
"""Maximum size of the table of sums that groups can have."""
MAX_EXACT = 4096
"""Maximum number of groups for which the nearest sum is searched."""
TRIED_AGAIN = 256
"""Groups to try again from the first ones that fit, if there are more."""


def divide_groups(sizes: Ints, wanted: Sequence[int], seed: int, least: int = 1) -> Ints:
    """Return 0 for the groups to train on, at least `least`, and `i + 1` for those of held-out part
    `i`, which have as nearly `wanted[i]` rows as the groups allow. Every part has a group.

    There must be `least + len(wanted)` groups.
    """
    parts = np.zeros(len(sizes), np.int64)
    order = np.random.default_rng(seed).permutation(len(sizes))
    for number, rows in enumerate(wanted, start=1):
        # One for each later part, and those to train on.
        chosen = order[_nearest(sizes[order], rows, leave=len(wanted) - number + least)]
        parts[chosen] = number
        order = order[parts[order] == 0]
    return parts


def divide_times(sizes: Ints, wanted: Sequence[int], least: int = 1) -> Ints:
    """Return 0 for the times to train on, at least `least`, and `i + 1` for those of held-out part
    `i`, which have as nearly `wanted[i]` rows as the times allow. The first part is the newest, and
    `sizes` begins with the oldest time. Every part has a time.

    There must be `least + len(wanted)` times.
    """
    parts, end = np.zeros(len(sizes), np.int64), len(sizes)
    for number, rows in enumerate(wanted, start=1):
        leave = len(wanted) - number + least
        held = sizes[leave:end][::-1].cumsum()
        begin = end - 1 - int(np.abs(held - rows).argmin())
        parts[begin:end] = number
        end = begin
    return parts


def fold_groups(sizes: Ints, folds: int, seed: int) -> Ints:
    """Return the fold of each group: the largest group that is left goes to the smallest fold
    (Graham 1969, the LPT rule). Groups of one size are dealt at random."""
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of = np.empty(len(sizes), np.int64)
    rows = [(0, fold) for fold in range(folds)]
    heapify(rows)
    for group, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        total, fold = rows[0]
        fold_of[group] = fold
        heapreplace(rows, (total + size, fold))
    return fold_of


def fold_times(sizes: Ints, folds: int) -> Ints:
    """Return the fold of each time, oldest first, and -1 for the first times, which every fold is
    trained on. They and the folds have as nearly equal numbers of rows as the times allow."""
    ends, blocks = sizes.cumsum(), folds + 1
    fold_of, begin = np.empty(len(sizes), np.int64), 0
    for block in range(blocks):
        # One time for each later block.
        last = len(sizes) - (blocks - block - 1)
        wanted = ends[-1] * (block + 1) / blocks
        end = begin + 1 + int(np.abs(ends[begin:last] - wanted).argmin())
        fold_of[begin:end] = block - 1
        begin = end
    return fold_of


def counted(number: int, criterion: str) -> str:
    """Return a number of groups or times in words."""
    noun = {"group": "group", "time": "different time"}[criterion]
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _nearest(sizes: Ints, wanted: int, leave: int) -> Ints:
    """Return the places of some of `sizes` whose sum is as near to `wanted` as possible: at least
    one, and all but `leave` at most.

    Of many, those in front are taken without a search as long as they fit, except the last few.
    """
    # A larger one alone is farther away than none.
    wanted = int(wanted)
    small = np.flatnonzero(sizes <= 2 * wanted)
    if not len(small):
        return np.array([sizes.argmin()], np.int64)
    fitting = int(np.searchsorted(sizes[small].cumsum(), wanted, side="right"))
    again = TRIED_AGAIN
    while True:
        begin = max(0, fitting - again)
        left = wanted - int(sizes[small[:begin]].sum())
        count = min(MAX_EXACT, max(16, MAX_BITS // (2 * left + 1)))
        if again == 1 or count > min(len(small) - begin - 1, 2 * (fitting - begin)):
            break
        again //= 2
    tried = small[begin : begin + count]
    reached = _sums(sizes[tried].tolist(), 2 * left)
    bits = np.frombuffer(reached[-1].to_bytes(2 * left // 8 + 1, "little"), np.uint8)
    sums = np.flatnonzero(np.unpackbits(bits, bitorder="little"))
    sums = sums[sums > 0] if begin == 0 else sums
    chosen = small[:begin]
    for total in sums[np.argsort(np.abs(sums - left), kind="stable")].tolist():
        chosen = np.concatenate([small[:begin], tried[_terms(reached, sizes[tried], total)]])
        if len(sizes) - len(chosen) >= leave:
            break
    return chosen


def _sums(sizes: Sequence[int], most: int) -> list[int]:
    """Return, for each number of first terms, the sums that some of them have: bit `n` is set if
    they can have the sum `n`, up to `most`."""
    mask = (1 << (most + 1)) - 1
    reached = [1]
    for size in sizes:
        reached.append((reached[-1] | reached[-1] << size) & mask)
    return reached


def _terms(reached: Sequence[int], sizes: Ints, total: int) -> list[int]:
    """Return the places of some of `sizes` whose sum is `total`, preferring the first."""
    places = []
    for place in range(len(sizes) - 1, -1, -1):
        if not reached[place] >> total & 1:
            places.append(place)
            total -= int(sizes[place])
    return places
