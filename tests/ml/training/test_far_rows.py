"""Rows that are not for training, and infinitely far from those that are on the network's scale."""

from pathlib import Path

import pytest
import torch

from ml.training.summary import Sample, summarize
from tests.ml.shelf import Shelf

FAR = "3e38"
TRAINING, VALIDATION = 30, 10


def table(far_column: str | None) -> str:
    """Return a table of tiny numbers, but for one in a validation row."""
    rows = ["x,z,y,part"]
    for number in range(TRAINING + VALIDATION):
        is_far = number == TRAINING + 3
        cells = {name: f"{(number * step) % 13}e-6" for name, step in (("x", 3), ("z", 5))}
        cells["y"] = f"{number % 7}.5e-6"
        if is_far and far_column:
            cells[far_column] = FAR
        rows.append(",".join([*cells.values(), "train" if number < TRAINING else "validation"]))
    return "\n".join(rows)


@pytest.mark.parametrize("far_column", ["x", "y"])
def test_auto_learns_from_the_others(tmp_path: Path, far_column: str) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(table(far_column), target="y")
    model = {"kind": "auto", "tabm": {"kind": "tabm", "members": 2, "hidden": [4]}}
    spec = shelf.spec({"id": "ds_0", "split_by": "part"}, model=model, epochs=2)
    run, data = shelf.train(spec)
    state = run.model.get_submodule("network").state_dict()
    assert all(tensor.isfinite().all() for tensor in state.values())
    assert run.model(data.train.inputs).isfinite().all()


def test_pairs_of_the_others_are_kept(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(table("y"), target="y")
    run, data = shelf.train(shelf.spec({"id": "ds_0", "split_by": "part"}))
    assert data.validation is not None
    assert not torch.isfinite(data.validation.targets).all()
    sample = Sample.model_validate_json(summarize(run).files()["sample.json"])
    assert sample.pairs is not None
    assert len(sample.pairs.actual) == len(sample.pairs.predicted) == VALIDATION - 1
