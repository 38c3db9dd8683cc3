"""Descriptions of models as tensors of the protocol."""

from pathlib import Path

import numpy as np
import pytest

from ml.inference.model import Model
from service.open_inference.model_io import describe
from tests.conftest import PLANE
from tests.ml.training.test_training import saved


@pytest.mark.parametrize(("standardize", "datatype"), [(False, "FP32"), (True, "FP64")])
def test_numbers_that_may_be_far_from_0_are_doubles(
    tmp_path: Path, standardize: bool, datatype: str
) -> None:
    data = PLANE["dataset"] | {"standardize": standardize}
    saved(tmp_path, PLANE | {"dataset": data, "epochs": 1})
    model = Model.load(tmp_path / "model")
    inputs, _ = describe(model)
    assert inputs == [("inputs", datatype, [3])]
    for rows in (model.rows([[1, 2.5, 3]]), model.array(np.ones((1, 3), np.float16))):
        assert rows.dtype == {"FP32": np.float32, "FP64": np.float64}[datatype]
