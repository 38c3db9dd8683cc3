"""Conversion of JSON inputs to a model's input array."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml.errors import Invalid, Loc
from ml.signature import Features, Images

Array = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8]
PixelRange = Literal["0-255", "0-1"]
Code = Literal["f", "d"]
"""Type of numbers, float32 or float64, by its code in `struct` and in numpy."""

PIXEL_MAXIMA: dict[PixelRange, float] = {"0-255": 255.0, "0-1": 1.0}
FLOAT32_MAX = float(np.finfo(np.float32).max)
MAX_SHOWN = 8
"""Number of dimensions shown of a row that is nested too deeply."""
JSON_NAMES = {str: "the string", dict: "an object", list: "a list", type(None): "null"}


def feature_rows(features: Features, rows: Sequence[object]) -> Array:
    """Return `rows` as an array `(rows, features)`.

    A row is a list of numbers in the order of the features, or an object keyed by feature name.

    Raises:
        Invalid: `rows` is empty, or a row has too few, too many, unknown or non-numeric values;
            `loc` is within `rows`.
    """
    lists = [
        in_order(features, row, i) if isinstance(row, Mapping) else row
        for i, row in enumerate(rows)
    ]
    wanted = f"a row of {count_of(features.names)}"
    try:
        code: Code = "d" if features.is_double else "f"
        return _stack(lists, lists, len(features.names), [features.shape], wanted, code)
    except Invalid as error:
        raise Invalid(error.msg, _by_name(features, rows, error.loc)) from None


def pixel_rows(images: Images, rows: Sequence[object], pixels: PixelRange | None) -> Array:
    """Return `rows` as an array of pixels from 0 to 255, `(rows, *images.shape)`: uint8 if they are
    whole numbers, else float32.

    A row is an image as nested lists, or flattened. With `pixels` None, a row whose brightest pixel
    is above 1 is read as 0-255; any other row, unless all black, is rejected as ambiguous.

    Raises:
        Invalid: `rows` is empty, or a row has the wrong size, type or range; `loc` is within
            `rows`.
    """
    shape, size = images.shape, prod(images.shape)
    packed = _packed(rows, size)
    flat = rows if packed else [_flattened(row, shape) for row in rows]
    if packed := packed or _packed(flat, size):
        array: Array = _stacked(packed)
    else:
        sides = "x".join(map(str, shape))
        lists = " lists of ".join(map(str, shape))
        wanted = f"{sides} pixels, as {lists} or one list of {size}"
        array = _stack(flat, rows, size, [shape, (size,)], wanted)
    return in_pixel_range(array.reshape(-1, *shape), pixels)


def in_pixel_range(array: Array, pixels: PixelRange | None) -> Array:
    """Convert images `(rows, ...)` with pixels in the range `pixels` to the range 0 to 255.

    Raises:
        Invalid: see `pixel_rows`.
    """
    if array.dtype == np.uint8 and pixels != "0-1" and (pixels or _all_exceed_1(array)):
        return array  # the common case
    flat = array.reshape(len(array), -1)
    brightest, darkest = flat.max(1), flat.min(1)
    maximum = PIXEL_MAXIMA[pixels or "0-255"]
    # First whether anything is wrong, then what and where. NaN fails the comparisons too.
    ambiguous = pixels is None and ((brightest > 0) & (brightest <= 1)).any()
    if ambiguous or not (darkest.min() >= 0 and brightest.max() <= maximum):
        for i, (high, low) in enumerate(zip(brightest.tolist(), darkest.tolist(), strict=True)):
            _check_range(high, low, pixels, i)
    return array * np.float32(255.0) if pixels == "0-1" else array


def _all_exceed_1(images: Array) -> bool:
    """Return whether each uint8 image has a pixel above 1."""
    # For one image, the usual request, this is faster than a numpy call.
    if len(images) == 1:
        return bool(images.tobytes().translate(None, b"\0\1"))
    return all(image.tobytes().translate(None, b"\0\1") for image in images)


def _flattened(row: object, shape: tuple[int, ...]) -> object:
    """Flatten an image's nested lists; return malformed rows unchanged, to be rejected later."""
    flat = row
    for size, inner in pairwise(shape):
        if not (type(flat) is list and len(flat) % size == 0):
            return row
        if not all(type(line) is list and len(line) == inner for line in flat):
            return row
        flat = list(chain.from_iterable(flat))
    return flat


def _packed(rows: Sequence[object], size: int) -> list[bytearray]:
    """Return rows of `size` integers from 0 to 255 as bytes; an empty list for other rows."""
    try:
        # A bytearray is three times as fast, and writable, which torch requires.
        packed = [bytearray(row) for row in rows if type(row) is list and len(row) == size]
    except (TypeError, ValueError):
        return []
    return packed if len(packed) == len(rows) else []


def _stacked(rows: list[bytearray]) -> NDArray[np.uint8]:
    [flat, *more] = rows
    return np.frombuffer(bytearray().join(rows) if more else flat, np.uint8).reshape(len(rows), -1)


def in_order(features: Features, row: Mapping[str, object], index: int) -> list[object]:
    """Return the named values of row number `index` in the order of the features.

    Raises:
        Invalid: a feature is missing or unknown; `loc` begins with `index`.
    """
    if missing := [name for name in features.names if name not in row]:
        raise Invalid(f"is missing {count_of(missing)}", (index,))
    if len(row) > len(features.names):
        known = set(features.names)
        unknown = next(name for name in row if name not in known)
        raise Invalid(f"unknown; this model takes {count_of(features.names)}", (index, unknown))
    return [row[name] for name in features.names]


def _by_name(features: Features, rows: Sequence[object], loc: Loc) -> Loc:
    """Replace the column in `loc` by the feature's name if the row is an object."""
    match loc:
        case (int(row), int(column), *rest) if isinstance(rows[row], Mapping):
            return (row, features.names[column], *rest)
    return loc


def _stack(
    flat: Sequence[object],
    rows: Sequence[object],
    size: int,
    shapes: Sequence[tuple[int, ...]],
    wanted: str,
    code: Code = "f",
) -> NDArray[np.float32] | NDArray[np.float64]:
    """Convert all `flat` rows to an array `(rows, size)` at once; if that fails, find the invalid
    row in `rows`, the caller's own form."""
    if not rows:
        raise Invalid("is empty; give at least one row")
    form = struct.Struct(f"{size}{code}")
    try:
        # Far faster than numpy, which inspects the type of each number.
        pack = form.pack
        packed = bytearray().join([pack(*row) for row in flat if type(row) is list])
    except (struct.error, OverflowError):
        packed = bytearray()
    if len(packed) == form.size * len(rows):
        array: NDArray[Any] = np.frombuffer(packed, code).reshape(-1, size)
        # A float32 that is finite is in range, and this is the faster question.
        usable = np.isfinite(array) if code == "f" else np.abs(array) <= FLOAT32_MAX
        if usable.all():
            return array
    for i, row in enumerate(rows):
        _check_row(row, shapes, wanted, i)
    raise Invalid(f"has rows of different forms; each must be {wanted}")


def _check_row(row: object, shapes: Sequence[tuple[int, ...]], wanted: str, index: int) -> None:
    if not isinstance(row, list):
        raise Invalid(f"must be {wanted}, not {describe(row)}", (index,))
    # Counted before any value is looked at: a row may have millions.
    shape = _shape(row)
    if len(shape) > 1 and not all(isinstance(v, list) and len(v) == shape[1] for v in row):
        raise Invalid(f"has lists of different lengths; must be {wanted}", (index,))
    if shape not in shapes:
        given = "x".join(map(str, shape[:MAX_SHOWN])) + ("x..." if len(shape) > MAX_SHOWN else "")
        raise Invalid(f"has {given} values; must be {wanted}", (index,))
    for path, value in _leaves(row, shape):
        if path is None:
            raise Invalid(f"has lists of different lengths; must be {wanted}", (index,))
        _check_number(value, (index, *path))


def _shape(row: list[object]) -> tuple[int, ...]:
    """Return the shape of nested lists, going by the first list of each level."""
    shape: list[int] = []
    value: object = row
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _check_number(value: object, loc: Loc) -> None:
    if not isinstance(value, int | float):
        raise Invalid(f"must be a number, not {describe(value)}", loc)
    # Compared, not converted: Python's integers are unbounded.
    if not abs(value) <= FLOAT32_MAX:
        raise Invalid(f"must be a finite number of at most {FLOAT32_MAX:.3g}", loc)


def _leaves(
    row: object, shape: tuple[int, ...], path: tuple[int, ...] = ()
) -> Iterator[tuple[tuple[int, ...] | None, object]]:
    """Yield each leaf of nested lists with its location; None for a location where they do not
    have this shape."""
    if not shape:
        yield path, row
    elif not isinstance(row, list) or len(row) != shape[0]:
        yield None, row
    else:
        for i, value in enumerate(row):
            yield from _leaves(value, shape[1:], (*path, i))


def _check_range(brightest: float, darkest: float, pixels: PixelRange | None, index: int) -> None:
    if pixels is None and 0 < brightest <= 1:
        raise Invalid(
            "is ambiguous: pixels from 0 to 1, or nearly black pixels from 0 to 255; set "
            '"pixels": "0-1" or "pixels": "0-255"',
            (index,),
        )
    maximum = PIXEL_MAXIMA[pixels or "0-255"]
    if not (darkest >= 0 and brightest <= maximum):
        raise Invalid(
            f"has pixels from {darkest:g} to {brightest:g}; must be from 0 to {maximum:g}",
            (index,),
        )


def describe(value: object) -> str:
    """Describe a JSON value in words."""
    text = JSON_NAMES.get(type(value), type(value).__name__)
    return f"{text} {value[:40]!r}" if isinstance(value, str) else text


def count_of(names: Sequence[str]) -> str:
    """Return the number and the names of features, in words."""
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"{len(names)} feature{'s' if len(names) != 1 else ''} ({shown})"
