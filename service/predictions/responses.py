"""Encoding of `PredictResponse` as JSON: at once, in parts, or with images that the model saw."""

from collections.abc import Callable, Sequence

import numpy as np
import orjson

from ml.images.encode import png_base64
from ml.inference.model import Inputs, Predictions
from service.predictions.model_cache import LoadedModel
from service.predictions.unknown import UnknownValues

PART_NUMBERS = 50_000
"""Numbers of a long response that are encoded at a time."""


def encode_response(
    loaded: LoadedModel, predictions: Predictions, unknown: UnknownValues | None = None
) -> bytes:
    """Return a `PredictResponse` as JSON."""
    results = loaded.model.to_json(predictions)
    if unknown is not None:
        unknown.add_to(results)
    return orjson.dumps(
        {"model": loaded.ref.name, "version": loaded.ref.version, "predictions": results}
    )


def encode_long_response(
    loaded: LoadedModel,
    predictions: Predictions,
    unknown: UnknownValues,
    check: Callable[[], None],
) -> bytes:
    """Return the same as `encode_response`, made in parts: the encoder holds the interpreter's
    lock. Call `check` between them."""
    rows = max(1, PART_NUMBERS // predictions.values.shape[1])
    parts = []
    for start in range(0, len(predictions), rows):
        check()
        part = loaded.model.to_json(predictions[start : start + rows])
        unknown.add_to(part, start)
        parts.append(orjson.dumps(part)[1:-1])
    return _response_of(loaded, parts)


def encode_explained(
    loaded: LoadedModel, predictions: Predictions, inputs: Inputs, check: Callable[[], None]
) -> bytes:
    """Return a `PredictResponse` as JSON, with the image of each prediction; call `check` between
    images."""
    parts = []
    for index in range(len(predictions)):
        check()
        [prediction] = loaded.model.to_json(predictions[index : index + 1])
        seen = np.rint(inputs[index].astype(np.float32)).astype(np.uint8)
        parts.append(orjson.dumps({**prediction, "seen": png_base64(seen)}))
    return _response_of(loaded, parts)


def _response_of(loaded: LoadedModel, parts: Sequence[bytes]) -> bytes:
    """Return the response whose predictions are encoded already."""
    head = orjson.dumps({"model": loaded.ref.name, "version": loaded.ref.version})[:-1]
    return b'%b,"predictions":[%b]}' % (head, b",".join(parts))
