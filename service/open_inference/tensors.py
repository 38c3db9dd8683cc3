"""Tensors of JSON requests: numbers and strings of a known type and number.

The shape says how many values there are, so they are counted before any is looked at; the datatype
says what they are, so none is guessed from the values. Data of large requests is parsed a part at
a time.
"""

import math
from collections.abc import Callable, Iterator
from itertools import chain
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.errors import Invalid
from ml.inputs.json_slices import CHUNK_BYTES, Scanner, Span, check_row, groups, parsed

Tensor = NDArray[Any]
Shape = list[int]

DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
    "BYTES": np.dtype("O"),
}
"""NumPy dtype of each datatype. BF16 is held as its bits, the upper half of an FP32, and BYTES as
Python strings."""

END = ord("]")
NUMBERS = {bool, int, float}


class Data:
    """The `data` of a tensor, as batches of its values in row-major order."""

    def __init__(self, values: list[object]) -> None:
        self._values = values

    def batches(self, most: int) -> Iterator[list[object]]:
        """Yield the values, flattened.

        Raises:
            Invalid: nested lists differ in length, or there are more than `most` lists or strings.
        """
        yield _flat(self._values)


class LongData(Data):
    """Data that is still text. `check` is called between its parts."""

    def __init__(self, text: bytes, span: Span, row_size: int, check: Callable[[], None]) -> None:
        self._text = text
        self._row_size = row_size
        self._span = span
        self._check = check

    def batches(self, most: int) -> Iterator[list[object]]:
        scanner, spans = Scanner(self._text, self._check), list[Span]()
        scanner.at = self._span[0] + 1
        if scanner.peek() == END:
            yield []
            return
        if scanner.peek() not in b'["':
            yield from self._numbers()
            return
        scanner.at = self._span[0]
        for _ in scanner.items():
            if len(spans) == most:
                raise Invalid(f"has more than {most:,} lists or strings")
            spans.append(scanner.value())
        size = 0
        for group in groups(spans):
            self._check()
            text = self._text[group[0][0] : group[-1][1]]
            if len(group) == 1 and len(text) > CHUNK_BYTES:
                check_row(text, self._row_size)
            part = parsed(b"[%b]" % text)
            flat = _flat(part)
            size = size or len(flat) // len(part)
            if len(flat) != size * len(part):
                raise Invalid("has lists of different lengths; they must have the same length")
            yield flat

    def _numbers(self) -> Iterator[list[object]]:
        """Yield numbers of a flat list, cut at commas."""
        start, end = self._span[0] + 1, self._span[1] - 1
        while start <= end:
            self._check()
            stop = end
            if end - start > CHUNK_BYTES:
                stop = self._text.rfind(b",", start, start + CHUNK_BYTES)
            part = self._text[start:stop] if stop > start else b'"'
            if b'"' in part:
                raise Invalid("contains values that are not numbers")
            values = parsed(b"[%b]" % part)
            if not values and len(self._text[self._span[0] : self._span[1]].strip(b"[] \t\r\n")):
                raise Invalid("contains a comma without a number")
            yield _flat(values)
            start = stop + 1


def numbers(data: Data, datatype: str, shape: Shape) -> Tensor:
    """Return numbers as an array of a datatype other than BYTES.

    Raises:
        Invalid: there are more or fewer than the shape says, or some are not numbers, or numbers
            that the datatype cannot represent.
    """
    count, seen, arrays = math.prod(shape), 0, list[Tensor]()
    for batch in data.batches(_rows(shape)):
        seen += len(batch)
        if seen > count:
            break
        arrays.append(_array(batch, datatype))
    if seen != count:
        given = f"more than {count:,}" if seen > count else f"{seen:,}"
        raise Invalid(f"has {given} numbers, but its shape {shape} needs {count:,}")
    [array] = arrays if len(arrays) == 1 else [np.concatenate(arrays)]
    return array.reshape(shape)


def texts(data: Data, shape: Shape) -> Tensor:
    """Return strings as an array of objects.

    Raises:
        Invalid: there are more or fewer than the shape says, or some are not strings.
    """
    values: list[object] = []
    for batch in data.batches(math.prod(shape)):
        values += batch
    return text_tensor(values, shape)


def text_tensor(values: list[object], shape: Shape) -> Tensor:
    """Return `values` as an array of strings; see `texts`."""
    if len(values) != math.prod(shape):
        raise Invalid(
            f"has {len(values):,} strings, but its shape {shape} needs {math.prod(shape):,}"
        )
    if not {str}.issuperset(map(type, values)):
        raise Invalid("contains values that are not strings")
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(shape)


def _array(values: list[object], datatype: str) -> Tensor:
    dtype = np.dtype("<f4") if datatype == "BF16" else DATATYPES[datatype]
    kinds = set(map(type, values))
    if dtype.kind == "f" and NoneType in kinds:
        # JSON has no NaN, which denotes a missing number.
        values, kinds = [math.nan if v is None else v for v in values], kinds - {NoneType} | {float}
    if not kinds <= NUMBERS:
        raise Invalid("contains values that are not numbers")
    try:
        if dtype.kind != "f" and float not in kinds:
            return _integers(values, dtype, datatype)
        array = np.array(values, np.float64)
    except OverflowError:
        raise _not_representable(datatype) from None
    if dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            return array.astype(dtype)
    low, high = _range(dtype)
    if not ((array >= low) & (array < high + 1.0) & (array == np.floor(array))).all():
        raise _not_representable(datatype)
    return array.astype(dtype)


def _integers(values: list[Any], dtype: np.dtype[Any], datatype: str) -> Tensor:
    low, high = _range(dtype)
    if values and not (low <= min(values) and max(values) <= high):
        raise _not_representable(datatype)
    return np.array(values, dtype)


def _rows(shape: Shape) -> int:
    return shape[0] if shape else 1


def _range(dtype: np.dtype[Any]) -> tuple[int, int]:
    if dtype.kind == "b":
        return 0, 1
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def _not_representable(datatype: str) -> Invalid:
    return Invalid(f"contains numbers that {datatype} cannot represent")


def _flat(values: list[Any]) -> list[object]:
    """Flatten nested lists, level by level."""
    while any(type(value) is list for value in values):
        if not all(type(value) is list and len(value) == len(values[0]) for value in values):
            raise Invalid("has lists of different lengths; they must have the same length")
        values = list(chain.from_iterable(values))
    return values
