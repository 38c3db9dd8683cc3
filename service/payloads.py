"""What the body of a prediction request holds, by its content type."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from ml.errors import Invalid, Loc
from ml.inference import Inputs, Model
from ml.inputs import PixelRange
from service.errors import Unprocessable, UnsupportedMediaType
from service.schemas import PredictRequest
from service.settings import Settings


@dataclass(frozen=True)
class Rows:
    """Rows from a JSON body."""

    model: str
    rows: list[object]
    pixels: PixelRange | None

    def __len__(self) -> int:
        return len(self.rows)

    def inputs(self, model: Model, settings: Settings) -> Inputs:
        """Return them as `model` takes them."""
        return model.rows(self.rows, self.pixels)

    def place(self, loc: Loc) -> Loc:
        """Return where in the request a row's `loc` is."""
        return ("body", "inputs", *loc)


@dataclass(frozen=True)
class Files:
    """Image files, and where in the request each was."""

    model: str
    files: list[bytes]
    places: list[Loc]
    whole: Loc = ("body",)
    """Where all of them are."""

    def __len__(self) -> int:
        return len(self.files)

    def inputs(self, model: Model, settings: Settings) -> Inputs:
        """Return them as `model` takes them."""
        return model.images(self.files, settings.max_image_pixels)

    def place(self, loc: Loc) -> Loc:
        """Return where in the request a file's `loc` is."""
        match loc:
            case (int(index), *rest):
                return (*self.places[index], *rest)
        return (*self.whole, *loc)


Payload = Rows | Files


async def read_payload(request: Request) -> Payload:
    """Return what the request's body holds.

    Raises:
        UnsupportedMediaType: its content type is not in `READERS`.
        RequestValidationError, Unprocessable: it is not what its content type says.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    reader = READERS.get(content_type)
    if reader is None:
        given = f"not {content_type}" if content_type else "but none was given"
        raise UnsupportedMediaType(f"the content type must be {', '.join(READERS)}; {given}")
    return await reader(request)


async def _read_json(request: Request) -> Payload:
    body = await request.body()
    try:
        asked = PredictRequest.model_validate_json(body)
    except ValidationError as error:
        found = [e | {"loc": ("body", *e["loc"])} for e in error.errors()]
        raise RequestValidationError(found) from None
    if asked.inputs is not None:
        return Rows(asked.model, asked.inputs, asked.pixels)
    whole = ("body", "images")
    places: list[Loc] = [(*whole, i) for i in range(len(asked.images or []))]
    files = [_decoded(*pair) for pair in zip(asked.images or [], places, strict=True)]
    return Files(asked.model, files, places, whole)


def _decoded(text: str, place: Loc) -> bytes:
    # A page's canvas gives "data:image/png;base64,..."
    _, _, encoded = text.rpartition(",")
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise Unprocessable.at(Invalid(f"is not base64: {error}"), *place) from None


async def _read_image(request: Request) -> Payload:
    return Files(_model_in_query(request), [await request.body()], [("body",)])


async def _read_multipart(request: Request) -> Payload:
    async with request.form(max_files=1000, max_fields=10) as form:
        parts = [(name, part) for name, part in form.multi_items() if isinstance(part, UploadFile)]
        model = form.get("model") or _model_in_query(request)
        if not parts or not isinstance(model, str):
            message = "has no file; send at least one image as a file part"
            raise Unprocessable.at(Invalid(message), "body")
        places: list[Loc] = [
            ("body", name, part.filename or i) for i, (name, part) in enumerate(parts)
        ]
        return Files(model, [await part.read() for _, part in parts], places)


def _model_in_query(request: Request) -> str:
    model = request.query_params.get("model")
    if not model:
        message = "is missing; name the model in the address: /predict?model=mnist"
        raise Unprocessable.at(Invalid(message), "query", "model")
    return model


READERS: dict[str, Callable[[Request], Awaitable[Payload]]] = {
    "application/json": _read_json,
    "image/png": _read_image,
    "image/jpeg": _read_image,
    "multipart/form-data": _read_multipart,
}
