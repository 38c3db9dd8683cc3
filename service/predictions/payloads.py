"""What the body of a prediction request holds, by its content type."""

import base64
import io
from abc import ABC, abstractmethod
from asyncio import to_thread
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from numpy.lib import format as npy
from numpy.typing import NDArray
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.types import Message, Receive, Scope

from ml.errors import Invalid, Loc
from ml.inference.model import Inputs, Model
from ml.inputs.rows import PixelRange
from service.errors import TooLarge, Unprocessable, UnsupportedMediaType
from service.http.body_limit import read_body
from service.predictions.query import RAW_TYPES, RawType, parse_query
from service.predictions.schemas import PredictRequest
from service.settings import Settings

JSON = "application/json"
FORM = "multipart/form-data"
NDJSON = "application/x-ndjson"
"""Read and answered line by line: see `service.predictions.ndjson`."""
LIGHT_ROWS = 64
LIGHT_BYTES = 256 * 1024
"""What is more is worked on in a thread, so that others are served meanwhile."""


class Payload(ABC):
    """What is to be predicted, and for which model."""

    model: str
    is_light: bool = True
    """Whether `inputs` takes no time to speak of."""

    @abstractmethod
    def inputs(self, model: Model, settings: Settings) -> Inputs:
        """Return it as `model` takes it.

        Raises:
            Invalid: it is not what the model takes; `place` says where that is in the request.
            TooLarge: there are too many rows.
        """

    def place(self, loc: Loc) -> Loc:
        """Return where in the request the `loc` is that an `Invalid` bears."""
        return ("body", *loc)


@dataclass
class JsonRows(Payload):
    """Rows from a JSON body."""

    model: str
    rows: list[object]
    pixels: PixelRange | None = None

    @property
    def is_light(self) -> bool:  # type: ignore[override]
        """Whether they are few."""
        return len(self.rows) <= LIGHT_ROWS

    def inputs(self, model: Model, settings: Settings) -> Inputs:
        """Return them as `model` takes them."""
        check_count(len(self.rows), settings)
        return model.rows(self.rows, self.pixels)

    def place(self, loc: Loc) -> Loc:
        """Return where in the request a row's `loc` is."""
        return ("body", "inputs", *loc)


@dataclass
class ImageFiles(Payload):
    """Image files, and where in the request each was."""

    model: str
    files: list[bytes]
    places: list[Loc]
    whole: Loc = ("body",)
    """Where all of them are."""
    is_light = False

    def inputs(self, model: Model, settings: Settings) -> Inputs:
        """Return them as `model` takes them."""
        check_count(len(self.files), settings)
        return model.images(self.files, settings.max_image_pixels)

    def place(self, loc: Loc) -> Loc:
        """Return where in the request a file's `loc` is."""
        match loc:
            case (int(index), *rest):
                return (*self.places[index], *rest)
        return (*self.whole, *loc)


@dataclass
class NpyArray(Payload):
    """An array that says its own shape and type."""

    model: str
    array: NDArray[Any]
    pixels: PixelRange | None

    def inputs(self, model: Model, settings: Settings) -> Inputs:
        """Return its rows as `model` takes them."""
        check_count(len(self.array) if self.array.ndim else 1, settings)
        return model.array(self.array, self.pixels)


@dataclass
class RawNumbers(Payload):
    """Little-endian numbers, row by row, and nothing else: the model says how many a row has."""

    model: str
    data: bytes
    dtype: RawType | None
    """By default bytes for images, and 32-bit floats for features."""
    pixels: PixelRange | None

    def inputs(self, model: Model, settings: Settings) -> Inputs:
        """Return the rows as `model` takes them."""
        default: RawType = (
            "uint8" if model.manifest.signature.inputs.kind == "images" else "float32"
        )
        dtype = RAW_TYPES[self.dtype or default]
        row = dtype.itemsize * model.row_size
        if not self.data or len(self.data) % row:
            raise Invalid(
                f"has {len(self.data):,} bytes; a row is {model.row_size} {dtype.name} of "
                f"{dtype.itemsize} bytes, so it must be a multiple of {row:,}"
            )
        check_count(len(self.data) // row, settings)
        array = np.frombuffer(bytearray(self.data), dtype).reshape(-1, model.row_size)
        return model.array(array, self.pixels)


def check_count(rows: int, settings: Settings) -> None:
    """Do nothing for as many rows as one request may have.

    Raises:
        TooLarge: there are more.
    """
    if rows > settings.max_rows:
        raise TooLarge(f"{rows:,} rows are over the limit of {settings.max_rows:,} a request")


def media_type(scope: Scope) -> str:
    """Return the content type of a request, without parameters."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            return _essence(value)
    return ""


@lru_cache(maxsize=64)
def _essence(content_type: bytes) -> str:
    return content_type.decode("latin-1").partition(";")[0].strip().lower()


async def read_payload(content_type: str, scope: Scope, receive: Receive, limit: int) -> Payload:
    """Return what the body of a request holds, which may have `limit` bytes.

    Raises:
        UnsupportedMediaType: its content type is not known.
        RequestValidationError, Unprocessable: it is not what its content type says.
        TooLarge, ClientGone: see `read_body`.
    """
    if content_type == FORM:
        body = await read_body(scope, receive, limit)
        try:
            return await _read_form(Request(scope, _replaying(body)))
        except MultiPartException as error:
            raise HTTPException(400, f"the body is no form: {error.message}") from None
    reader = READERS.get(content_type)
    if reader is None:
        given = f"not {content_type}" if content_type else "but none was given"
        known = ", ".join((*READERS, FORM, NDJSON))
        raise UnsupportedMediaType(f"the content type must be {known}; {given}")
    body = await read_body(scope, receive, limit)
    is_long = content_type == JSON and len(body) >= LIGHT_BYTES
    return await to_thread(reader, scope, body) if is_long else reader(scope, body)


def _replaying(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _read_json(_: Scope, body: bytes) -> Payload:
    request = _parse_json(body)
    # What is simple and right needs no model of pydantic's to be told so.
    if type(request) is dict and len(request) == 2:
        model, rows = request.get("model"), request.get("inputs")
        if type(model) is str and type(rows) is list:
            return JsonRows(model, rows)
    try:
        request = PredictRequest.model_validate_json(body)
    except ValidationError as error:
        found = [e | {"loc": ("body", *e["loc"])} for e in error.errors()]
        raise RequestValidationError(found) from None
    if request.inputs is not None:
        return JsonRows(request.model, request.inputs, request.pixels)
    whole = ("body", "images")
    places: list[Loc] = [(*whole, i) for i in range(len(request.images or []))]
    files = [_decode_base64(*pair) for pair in zip(request.images or [], places, strict=True)]
    return ImageFiles(request.model, files, places, whole)


def _parse_json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None  # pydantic says what is wrong, and takes some numbers that this does not


def _decode_base64(text: str, place: Loc) -> bytes:
    # A page's canvas gives "data:image/png;base64,..."
    _, _, encoded = text.rpartition(",")
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError as error:  # `binascii.Error`, or letters that base64 has not at all
        raise Unprocessable.at(Invalid(f"is not base64: {error}"), *place) from None


def _read_npy(scope: Scope, body: bytes) -> Payload:
    query = parse_query(scope)
    return NpyArray(query.model, parse_npy(body), query.pixels)


def parse_npy(body: bytes) -> NDArray[Any]:
    """Return the array of a `.npy` file. Nothing is allocated that the file does not hold.

    Raises:
        Unprocessable: it is none, is cut off, or holds Python objects.
    """
    file = io.BytesIO(body)
    try:
        reader = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        version = npy.read_magic(file)
        if version not in reader:
            raise ValueError(f"its format is {version}; known are 1.0 and 2.0")
        shape, is_fortran, dtype = reader[version](file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which are not read")
        data = memoryview(body)[file.tell() :]
        count = int(np.prod(shape, dtype=object))
        if not dtype.itemsize or count * dtype.itemsize != len(data):
            raise ValueError(
                f"{count:,} numbers of {dtype.itemsize} bytes are announced, and {len(data):,} "
                "bytes follow"
            )
        array = np.frombuffer(bytearray(data), dtype)
        return array.reshape(shape, order="F" if is_fortran else "C")
    except (ValueError, SyntaxError, TypeError, OverflowError) as error:
        raise Unprocessable.at(Invalid(f"is no .npy file: {error}"), "body") from None


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
    "image/png": _read_image,
    "image/jpeg": _read_image,
}
"""Of bodies that are not `FORM` or `NDJSON`."""
