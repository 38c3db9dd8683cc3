"""`?explain=true` shows the images that a model saw."""

import base64
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from PIL import Image

from ml.inference.model import Predictions
from service.errors import Unprocessable
from service.predictions.explanation import check_images, is_asked
from service.predictions.responses import encode_explained
from service.schemas import ModelRef


def stand_in() -> Any:
    to_json = lambda predictions: [{"value": value} for [value] in predictions.lists]  # noqa: E731
    return SimpleNamespace(
        ref=ModelRef(name="digits", version=2), model=SimpleNamespace(to_json=to_json)
    )


@pytest.mark.parametrize("shape", [(28, 28), (3, 5, 7)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_each_prediction_has_its_image(shape: tuple[int, ...], dtype: Any) -> None:
    inputs = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(dtype)
    predictions = Predictions.from_values(np.array([[1.0], [2.0], [3.0]]))
    checks: list[int] = []

    body = encode_explained(stand_in(), predictions, inputs, lambda: checks.append(1))

    answer = orjson.loads(body)
    assert (answer["model"], answer["version"], len(checks)) == ("digits", 2, 3)
    for row, prediction in zip(inputs, answer["predictions"], strict=True):
        seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(prediction["seen"]))))
        assert np.array_equal(seen if seen.ndim == 2 else np.moveaxis(seen, -1, 0), row)
    assert [prediction["value"] for prediction in answer["predictions"]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        (b"", False),
        (b"model=m&explain=true", True),
        (b"explain=false", False),
        (b"model=explain", False),
    ],
)
def test_an_explanation_is_asked_for_by_query(query: bytes, asked: bool) -> None:
    assert is_asked({"query_string": query}) is asked


@pytest.mark.parametrize("query", [b"explain=yes", b"x=explain", b"explain=true&explain=true"])
def test_other_queries_are_refused(query: bytes) -> None:
    with pytest.raises(Unprocessable, match="explain"):
        is_asked({"query_string": query})


def test_models_of_features_are_refused() -> None:
    inputs = SimpleNamespace(kind="features")
    model: Any = SimpleNamespace(manifest=SimpleNamespace(signature=SimpleNamespace(inputs=inputs)))
    with pytest.raises(Unprocessable):
        check_images(model)
