"""Responses of predictions."""

from pathlib import Path

import numpy as np

from ml.artifacts import Manifest
from ml.inference.model import PART_NUMBERS, Model, Predictions
from ml.inputs.table_rows import NOWHERE
from service.predictions.model_cache import LoadedModel
from service.predictions.responses import encode_long_response, encode_response
from service.predictions.unknown import UnknownValues
from service.schemas import ModelRef


def test_a_long_response_is_made_in_parts(manifest: Manifest, tmp_path: Path) -> None:
    loaded = LoadedModel(
        ModelRef(name="line", version=1),
        Model.load(tmp_path / "model"),
        batcher=None,  # type: ignore[arg-type]
    )
    predictions = loaded.model.predict(np.ones((2 * PART_NUMBERS + 1, 1), np.float32))
    checks = []
    unknown = UnknownValues(loaded.model, NOWHERE, lambda row: None)
    parts = encode_long_response(loaded, predictions, unknown, lambda: checks.append(1))
    assert parts == encode_response(loaded, predictions)
    assert len(checks) == 3


def test_values_become_lists_in_parts() -> None:
    values = np.random.default_rng(0).normal(size=(PART_NUMBERS, 3))
    predictions = Predictions.from_values(values)
    assert predictions.lists == values.tolist()
    assert predictions.argmax == values.argmax(1).tolist()
