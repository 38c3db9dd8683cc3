"""Prediction requests of a large JSON body, read in bounded memory.

The extents of rows are found first, and their number is checked. Rows are then parsed a few at a
time, so that neither the memory nor the time for which the interpreter is locked grows with the
body.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ml.errors import Invalid, Loc, located_at
from ml.inference.model import Inputs, Model
from ml.inputs.json_slices import (
    CHUNK_BYTES,
    LIST,
    QUOTE,
    Scanner,
    Span,
    check_row,
    groups,
    parsed,
    string_pieces,
)
from ml.inputs.rows import PixelRange
from service.errors import TooLarge, Unprocessable
from service.predictions.base64_files import decode_base64
from service.predictions.payloads import (
    IMAGES,
    Payload,
    invalid_body,
    listed_images,
)
from service.predictions.schemas import PredictRequest
from service.settings import Settings
from service.work.attended import Check, unchecked


@dataclass
class LongRows(Payload):
    """Rows of a JSON body, not yet parsed."""

    model: str
    body: bytes
    spans: list[Span]
    pixels: PixelRange | None
    is_light = False

    def inputs(self, model: Model, settings: Settings, check: Check = unchecked) -> Inputs:
        if not self.spans:
            return model.rows([], self.pixels)
        arrays: list[NDArray[Any]] = []
        before = 0
        for group in groups(self.spans):
            check()
            (start, _), (_, stop) = group[0], group[-1]
            text = self.body[start:stop]
            try:
                if len(text) > CHUNK_BYTES:
                    with located_at(0):
                        check_row(text, model.row_size)
                arrays.append(model.rows(parsed(b"[%b]" % text), self.pixels))
            except Invalid as error:
                match error.loc:
                    case (int(row), *rest):
                        raise Invalid(error.msg, (before + row, *rest)) from None
                raise
            before += len(group)
        return np.concatenate(arrays)

    def row(self, index: int) -> object:
        start, stop = self.spans[index]
        return parsed(self.body[start:stop])

    def place(self, loc: Loc) -> Loc:
        return ("body", "inputs", *loc)


def read_long_json(body: bytes, settings: Settings, check: Check) -> Payload:
    """Return the payload of a JSON body.

    Raises:
        NotJson, RequestValidationError, Unprocessable: the body is not a `PredictRequest`.
        TooLarge: there are too many rows or images.
    """
    scanner, head, spans = Scanner(body, check), dict[str, Any](), dict[str, list[Span]]()
    for name in scanner.members():
        if name not in PredictRequest.model_fields:
            # The first unknown name ends it: there may be a million.
            head = {"model": "", "inputs": [], name: None}
            break
        if name in ("inputs", "images") and scanner.peek() == LIST:
            spans[name] = _items(scanner, settings.max_rows)
            head[name] = []
            continue
        start, stop = scanner.value()
        if stop - start > CHUNK_BYTES:
            raise Unprocessable.at(Invalid(f"has {stop - start:,} bytes"), "body", name)
        head[name] = parsed(body[start:stop])
    else:
        scanner.end()
    try:
        request = PredictRequest.model_validate(head)
    except ValidationError as error:
        raise invalid_body(error) from None
    if request.images is None:
        return LongRows(request.model, body, spans["inputs"], request.pixels)
    files = []
    for index, (start, stop) in enumerate(spans["images"]):
        check()
        files.append(_file(body, start, stop, (*IMAGES, index)))
    return listed_images(request.model, files)


def _items(scanner: Scanner, most: int) -> list[Span]:
    spans: list[Span] = []
    for _ in scanner.items():
        if len(spans) == most:
            raise TooLarge(f"there are more than {most:,} rows, the limit per request")
        spans.append(scanner.value())
    return spans


def _file(body: bytes, start: int, stop: int, place: Loc) -> bytes:
    if body[start] != QUOTE:
        raise Unprocessable.at(Invalid("must be a string, a file in base64"), *place)
    return decode_base64(string_pieces(body, start, stop), place)
