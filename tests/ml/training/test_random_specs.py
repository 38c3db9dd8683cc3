"""Every random valid spec is refused, diverges or is trained: another error is a defect."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.ml.shelf import Shelf
from tests.ml.training.random_specs import DOCUMENTS, outcome, shelf


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return shelf(tmp_path_factory.mktemp("uploads"))


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "model"


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(document=DOCUMENTS)
def test_random_specs_are_refused_diverge_or_are_trained(
    uploads: Shelf, model_directory: Path, document: dict[str, Any]
) -> None:
    outcome(document, uploads, model_directory)


def test_outcomes_are_told_apart(uploads: Shelf, model_directory: Path) -> None:
    """Otherwise all might be refused."""
    synthetic = {"kind": "synthetic", "features": {"a": {"uniform": [0, 1]}}, "target": "a"}
    expected = {
        "trained": {},
        "refused": {"schedule": {"kind": "cosine", "min_lr": 1.0}},
        "diverged": {"optimizer": {"kind": "sgd", "lr": 1e6}},
        "invalid": {"dataset": synthetic | {"target": "1e39*a"}},
    }
    found = Counter(
        outcome({"dataset": synthetic} | changes, uploads, model_directory)
        for changes in expected.values()
    )
    assert found.keys() == expected.keys()
