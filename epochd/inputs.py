"""Inputs of predictions, divided into requests of a bounded size.

Rows are lists or dictionaries, a DataFrame, or an array; images are files, or images of Pillow.
"""

import json
import mimetypes
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from epochd.documents import plain
from epochd.sources import is_frame

T = TypeVar("T")

Inputs = Any
"""A row (a dictionary), rows (a list, a DataFrame, an array), an image or images (Pillow's, paths,
or bytes of files)."""
MAX_ROWS = 2000
"""Rows of one request, fewer than the service takes by default."""
MAX_IMAGES = 16
MAX_BYTES = 8 * 1024 * 1024
"""Size of one request, unless a single row is larger."""


@dataclass(frozen=True)
class Portion:
    """Rows for one request, as arguments of httpx."""

    rows: int
    body: Mapping[str, Any]
    content_type: str | None = None
    """None for the one that httpx sets."""
    names_model: bool = False
    """Whether the body is a JSON document without its end, to which the model is still added."""


def portions(inputs: Inputs) -> Iterator[Portion]:
    """Divide inputs into requests.

    Raises:
        TypeError: no predictions can be made of such a value.
        FileNotFoundError: an image file does not exist.
    """
    if is_image(inputs):
        return _of_images([inputs])
    if isinstance(inputs, Mapping):
        return _of_rows([inputs])
    if isinstance(inputs, list | tuple):
        if inputs and all(map(is_image, inputs)):
            return _of_images(inputs)
        return _of_rows(inputs)
    if is_frame(inputs):
        return _of_rows(_records(inputs))
    if hasattr(inputs, "index") and hasattr(inputs, "to_dict"):  # a row of a DataFrame
        return _of_rows([inputs.to_dict()])
    if hasattr(inputs, "__array__"):
        return _of_array(inputs)
    kinds = "rows, a DataFrame, an array, or images (of Pillow, paths or bytes)"
    raise TypeError(f"predict takes {kinds}, not {type(inputs).__name__}")


def is_image(value: object) -> bool:
    """Return whether a value is an image: a path, the bytes of a file, or an image of Pillow."""
    return isinstance(value, str | PathLike | bytes | bytearray) or _is_pillow(value)


def _is_pillow(value: object) -> bool:
    return any(kind.__module__ == "PIL.Image" for kind in type(value).__mro__)


def _records(frame: Any) -> list[Mapping[str, Any]]:
    is_polars = hasattr(frame, "to_dicts")
    found: list[Mapping[str, Any]] = frame.to_dicts() if is_polars else frame.to_dict("records")
    return found


def _of_rows(rows: Sequence[Any]) -> Iterator[Portion]:
    texts = (json.dumps(plain(row), separators=(",", ":")) for row in rows)
    for group in _grouped(texts, len, MAX_ROWS):
        content = f'{{"inputs":[{",".join(group)}]'.encode()
        yield Portion(len(group), {"content": content}, "application/json", names_model=True)
    if not rows:  # the service says what is wrong
        yield Portion(0, {"content": b'{"inputs":[]'}, "application/json", names_model=True)


def _of_array(array: Any) -> Iterator[Portion]:
    import numpy as np

    values = np.asarray(array)
    if values.dtype.kind not in "biuf":
        yield from _of_rows(values.tolist())
        return
    size = max(1, values.nbytes // max(1, len(values))) if values.ndim else 1
    step = max(1, min(MAX_ROWS, MAX_BYTES // size))
    for start in range(0, max(1, len(values)), step) if values.ndim else [0]:
        part = values[start : start + step] if values.ndim else values
        file = BytesIO()
        np.save(file, part, allow_pickle=False)
        rows = len(part) if values.ndim else 1
        yield Portion(rows, {"content": file.getvalue()}, "application/x-npy")


def _of_images(images: Sequence[Any]) -> Iterator[Portion]:
    files = (_file(image, index) for index, image in enumerate(images))
    for group in _grouped(files, lambda file: len(file[1]), MAX_IMAGES):
        yield Portion(len(group), {"files": [("file", file) for file in group]})


def _file(image: Any, index: int) -> tuple[str, bytes, str]:
    """Return the name, content and type of an image's file."""
    if isinstance(image, bytes | bytearray):
        return f"image-{index}", bytes(image), "application/octet-stream"
    if isinstance(image, str | PathLike):
        kind = mimetypes.guess_type(str(image))[0] or "application/octet-stream"
        return Path(image).name, Path(image).read_bytes(), kind
    file = BytesIO()
    try:
        image.save(file, "PNG")
    except OSError:  # PNG has no such mode
        file = BytesIO()
        image.convert("RGB").save(file, "PNG")
    return f"image-{index}.png", file.getvalue(), "image/png"


def _grouped(items: Iterable[T], size_of: Any, most: int) -> Iterator[list[T]]:
    """Divide items into groups of at most `most`, and of `MAX_BYTES` unless one alone is larger."""
    group: list[T] = []
    size = 0
    for item in items:
        if group and (len(group) == most or size + size_of(item) > MAX_BYTES):
            yield group
            group, size = [], 0
        group.append(item)
        size += size_of(item)
    if group:
        yield group
