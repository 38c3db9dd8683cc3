"""Predictions, in as many requests as their rows need."""

import json
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from epochd.calls.call import Call, call, reads
from epochd.errors import Fault, Invalid
from epochd.inputs import Inputs, Portion, portions
from epochd.schemas import ModelRef, Prediction, Predictions, PredictResponse


def predict(
    model: str, inputs: Inputs, *, pixels: str | None = None, explain: bool = False
) -> Generator[Call[Any], Any, Predictions]:
    """Predict on rows or images with `name`, `name@3` or `name@alias`.

    `inputs` are rows (lists or dictionaries), a DataFrame, an array, an image (of Pillow, a path,
    or the bytes of a file), or a list of images. `pixels` is the range of those in rows and arrays,
    `0-255` or `0-1`. With `explain`, predictions of images have the image that the model saw.

    Many rows are sent in several requests, all to the version that answers the first.
    """
    found: list[Prediction] = []
    used: ModelRef | None = None
    for portion in portions(inputs):
        reference = model if used is None else str(used)
        try:
            answer = yield from _call(reference, portion, pixels, explain).repeatable()
        except Invalid as error:
            raise _shifted(error, len(found)) from None
        used = ModelRef(name=answer.model, version=answer.version)
        found += answer.predictions
    assert used is not None, "there is a portion at least"
    return Predictions(used, found)


def predict_with(
    model: ModelRef, inputs: Inputs, *, pixels: str | None = None, explain: bool = False
) -> Generator[Call[Any], Any, Predictions]:
    """Predict on rows or images with this version; see `Client.predict`."""
    return predict(str(model), inputs, pixels=pixels, explain=explain)


def _call(model: str, portion: Portion, pixels: str | None, explain: bool) -> Call[PredictResponse]:
    params = {"explain": "true" if explain else None}
    body = dict(portion.body)
    if portion.names_model:
        rest = {"model": model} | ({"pixels": pixels} if pixels else {})
        body["content"] += b"," + json.dumps(rest)[1:].encode()
    else:
        params |= {"model": model, "pixels": pixels}
    headers = {"Content-Type": portion.content_type}
    return call("POST", "/predict", reads(PredictResponse), params=params, headers=headers, **body)


def _shifted(error: Invalid, rows: int) -> Invalid:
    """Return the error with rows numbered as the caller does, whose request was divided."""
    if not rows:
        return error
    faults = tuple(replace(fault, loc=_moved(fault, rows)) for fault in error.errors)
    detail = str(faults[0]) if faults else error.detail
    return Invalid(error.status, error.title, detail, type=error.type, errors=faults)


def _moved(fault: Fault, rows: int) -> tuple[str | int, ...]:
    loc = list(fault.loc)
    for place, step in enumerate(loc):
        if isinstance(step, int):
            loc[place] = step + rows
            break
    return tuple(loc)
