"""`?explain=true`: the images that a model saw, beside its predictions."""

import base64
import io
from collections.abc import Callable

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image
from starlette.types import Scope

from ml.errors import Invalid
from ml.inference.model import Inputs, Model, Predictions
from service.errors import Unprocessable
from service.predictions.model_cache import LoadedModel
from service.predictions.query import parse_query

NAME = b"explain"


def is_asked(scope: Scope) -> bool:
    """Return whether a request asks for an explanation.

    Raises:
        Unprocessable: `explain` is neither true nor false.
    """
    return NAME in scope["query_string"] and parse_query(scope).explain


def check_images(model: Model) -> None:
    """Check that the predictions of `model` can be explained.

    Raises:
        Unprocessable: the model does not take images.
    """
    if model.manifest.signature.inputs.kind != "images":
        raise refusal("shows the images that a model saw, and this model takes features")


def refusal(reason: str) -> Unprocessable:
    """Return the refusal of the parameter `explain`."""
    return Unprocessable.at(Invalid(reason), "query", "explain")


def encode_explained(
    loaded: LoadedModel, predictions: Predictions, inputs: Inputs, check: Callable[[], None]
) -> bytes:
    """Return a `PredictResponse` as JSON, with the image of each prediction; call `check` between
    images."""
    rows = []
    for index in range(len(predictions)):
        check()
        [row] = loaded.model.to_json(predictions[index : index + 1])
        rows.append(orjson.dumps({**row, "seen": _png(inputs[index])}))
    head = orjson.dumps({"model": loaded.ref.name, "version": loaded.ref.version})[:-1]
    return b'%b,"predictions":[%b]}' % (head, b",".join(rows))


def _png(pixels: NDArray[np.generic]) -> str:
    """Return pixels `(height, width)` or `(3, height, width)` as a PNG file in base64."""
    whole = np.rint(pixels.astype(np.float32)).astype(np.uint8)
    image = np.ascontiguousarray(np.moveaxis(whole, 0, -1), np.uint8) if whole.ndim == 3 else whole
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
