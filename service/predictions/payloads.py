"""Parsing of prediction requests by content type."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from numpy.typing import NDArray
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.types import Message, Receive, Scope

from ml.errors import Invalid, Loc
from ml.images.header import MEDIA_TYPES
from ml.inference.model import Inputs, Model
from ml.inputs.rows import PixelRange
from service.errors import TooLarge, Unprocessable, UnsupportedMediaType
from service.predictions.base64_files import decode_base64
from service.predictions.npy import parse_npy
from service.predictions.query import RAW_TYPES, RawType, parse_query
from service.predictions.schemas import PredictRequest
from service.settings import Settings
from service.work.attended import Check, unchecked

JSON = "application/json"
FORM = "multipart/form-data"
NDJSON = "application/x-ndjson"
"""Handled line by line: see `service.predictions.ndjson`."""
LIGHT_ROWS = 64
LIGHT_BYTES = 256 * 1024
"""Larger payloads are parsed in a thread, so that they do not block the event loop."""
FORM_PIECE_BYTES = 16 * 1024
IMAGES = ("body", "images")
"""Location of the images in a JSON body."""


class Payload(ABC):
    """The inputs of a prediction request and the name of its model."""

    model: str
    is_light: bool = True
    """Whether `inputs` is fast enough for the event loop."""

    @abstractmethod
    def inputs(self, model: Model, settings: Settings, check: Check = unchecked) -> Inputs:
        """Return the inputs in the form that `model` takes; call `check` between items.

        Raises:
            Invalid: the inputs do not fit the model; `place` maps `loc` to the request.
            TooLarge: there are too many rows.
        """

    def place(self, loc: Loc) -> Loc:
        """Return the location in the request for the `loc` of an `Invalid`."""
        return ("body", *loc)

    def row(self, index: int) -> object:
        """Return a row as the client sent it, for requests that may have texts."""
        raise TypeError("this kind of request has no texts")


@dataclass
class JsonRows(Payload):
    """Rows from a JSON body."""

    model: str
    rows: list[object]
    pixels: PixelRange | None = None

    @property
    def is_light(self) -> bool:  # type: ignore[override]
        return len(self.rows) <= LIGHT_ROWS

    def inputs(self, model: Model, settings: Settings, check: Check = unchecked) -> Inputs:
        check_count(len(self.rows), settings)
        return model.rows(self.rows, self.pixels)

    def row(self, index: int) -> object:
        return self.rows[index]

    def place(self, loc: Loc) -> Loc:
        return ("body", "inputs", *loc)


@dataclass
class ImageFiles(Payload):
    """Image files and their locations in the request."""

    model: str
    files: list[bytes]
    places: list[Loc]
    whole: Loc = ("body",)
    """Location of the list of files."""
    is_light = False

    def inputs(self, model: Model, settings: Settings, check: Check = unchecked) -> Inputs:
        check_count(len(self.files), settings)
        return model.images(self.files, settings.max_image_pixels)

    def place(self, loc: Loc) -> Loc:
        match loc:
            case (int(index), *rest):
                return (*self.places[index], *rest)
        return (*self.whole, *loc)


@dataclass
class NpyArray(Payload):
    """An array in NumPy's `.npy` format."""

    model: str
    array: NDArray[Any]
    pixels: PixelRange | None

    @property
    def is_light(self) -> bool:  # type: ignore[override]
        return self.array.nbytes < LIGHT_BYTES

    def inputs(self, model: Model, settings: Settings, check: Check = unchecked) -> Inputs:
        check_count(len(self.array) if self.array.ndim else 1, settings)
        return model.array(self.array, self.pixels)


@dataclass
class RawNumbers(Payload):
    """Little-endian numbers, row after row; the model defines the row size."""

    model: str
    data: bytes
    dtype: RawType | None
    """None means uint8 for images and float32 for features."""
    pixels: PixelRange | None

    @property
    def is_light(self) -> bool:  # type: ignore[override]
        return len(self.data) < LIGHT_BYTES

    def inputs(self, model: Model, settings: Settings, check: Check = unchecked) -> Inputs:
        default: RawType = (
            "uint8" if model.manifest.signature.inputs.kind == "images" else "float32"
        )
        dtype = RAW_TYPES[self.dtype or default]
        row = dtype.itemsize * model.row_size
        if not self.data or len(self.data) % row:
            raise Invalid(
                f"has {len(self.data):,} bytes; it must be a positive multiple of {row:,}, since a "
                f"row is {model.row_size} {dtype.name} of {dtype.itemsize} bytes"
            )
        check_count(len(self.data) // row, settings)
        array = np.frombuffer(bytearray(self.data), dtype).reshape(-1, model.row_size)
        return model.array(array, self.pixels)


def check_count(rows: int, settings: Settings) -> None:
    """Check the number of rows of a request.

    Raises:
        TooLarge: the number exceeds the limit.
    """
    if rows > settings.max_rows:
        raise TooLarge(f"{rows:,} rows exceed the limit of {settings.max_rows:,} rows per request")


def media_type(scope: Scope) -> str:
    """Return the content type of a request without its parameters."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            return _essence(value)
    return ""


@lru_cache(maxsize=64)
def _essence(content_type: bytes) -> str:
    return content_type.decode("latin-1").partition(";")[0].strip().lower()


def reader_of(content_type: str) -> "PayloadReader":
    """Return the reader of bodies of a content type other than `FORM` and `NDJSON`.

    Raises:
        UnsupportedMediaType: the content type is unknown.
    """
    reader = READERS.get(content_type)
    if reader is None:
        given = f"not {content_type}" if content_type else "but none was given"
        known = ", ".join((*READERS, FORM, NDJSON))
        raise UnsupportedMediaType(f"the content type must be {known}; {given}")
    return reader


async def read_form(scope: Scope, body: bytes) -> Payload:
    """Parse a form of image files.

    Raises:
        HTTPException, Unprocessable: the body is not a form, or has no file.
    """
    try:
        return await _read_form(Request(scope, _replaying(body)))
    except MultiPartException as error:
        raise HTTPException(400, f"the body is not a valid form: {error.message}") from None


def _replaying(body: bytes) -> Receive:
    """Return a receive function for `body`, in pieces: the event loop parses one after another,
    and other requests between them."""

    def pieces() -> Iterator[Message]:
        for start in range(0, max(1, len(body)), FORM_PIECE_BYTES):
            stop = start + FORM_PIECE_BYTES
            more = stop < len(body)
            yield {"type": "http.request", "body": body[start:stop], "more_body": more}

    messages = pieces()

    async def receive() -> Message:
        await asyncio.sleep(0)
        return next(messages)

    return receive


def _read_json(_: Scope, body: bytes) -> Payload:
    request = _parse_json(body)
    # Fast path: the common simple request needs no validation by pydantic.
    if type(request) is dict and len(request) == 2:
        model, rows = request.get("model"), request.get("inputs")
        if type(model) is str and type(rows) is list:
            return JsonRows(model, rows)
    try:
        request = PredictRequest.model_validate_json(body)
    except ValidationError as error:
        raise invalid_body(error) from None
    if request.inputs is not None:
        return JsonRows(request.model, request.inputs, request.pixels)
    texts = request.images or []
    files = [decode_base64([text], (*IMAGES, i)) for i, text in enumerate(texts)]
    return listed_images(request.model, files)


def invalid_body(error: ValidationError) -> RequestValidationError:
    """Return the framework's error for a body that is not a `PredictRequest`."""
    return RequestValidationError([e | {"loc": ("body", *e["loc"])} for e in error.errors()])


def listed_images(model: str, files: list[bytes]) -> ImageFiles:
    """Return the payload of a JSON body's images."""
    return ImageFiles(model, files, [(*IMAGES, i) for i in range(len(files))], IMAGES)


def _parse_json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return (
            None  # left to pydantic, which reports the error and accepts more numbers than orjson
        )


def _read_npy(scope: Scope, body: bytes) -> Payload:
    query = parse_query(scope)
    return NpyArray(query.model, parse_npy(body), query.pixels)


def _read_numbers(scope: Scope, body: bytes) -> Payload:
    query = parse_query(scope)
    return RawNumbers(query.model, body, query.dtype, query.pixels)


def _read_image(scope: Scope, body: bytes) -> Payload:
    return ImageFiles(parse_query(scope).model, [body], [("body",)])


async def _read_form(request: Request) -> Payload:
    async with request.form(max_files=1000, max_fields=10) as form:
        parts = [(name, part) for name, part in form.multi_items() if isinstance(part, UploadFile)]
        model = form.get("model") or parse_query(request.scope).model
        if not parts or not isinstance(model, str):
            message = "has no file; send at least one image as a file part"
            raise Unprocessable.at(Invalid(message), "body")
        places: list[Loc] = [
            ("body", name, part.filename or i) for i, (name, part) in enumerate(parts)
        ]
        return ImageFiles(model, [await part.read() for _, part in parts], places)


PayloadReader = Callable[[Scope, bytes], Payload]
READERS: dict[str, PayloadReader] = {
    JSON: _read_json,
    "application/x-npy": _read_npy,
    "application/octet-stream": _read_numbers,
    **dict.fromkeys(MEDIA_TYPES, _read_image),
}
"""Readers by content type, except `FORM` and `NDJSON`."""
