"""A model whose files are damaged is not loaded, whatever happened to them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ml import datasets
from ml.artifacts import MANIFEST, WEIGHTS, save_model
from ml.errors import Damaged
from ml.inference.model import Model
from ml.integrity import CHECKSUMS
from ml.specs import TrainingSpec
from ml.training import summary
from ml.training.initial_model import build
from ml.training.run import Run
from ml.training.summary import EVALUATION, SAMPLE, TrainingSummary
from tests.conftest import LINE
from tests.damages import DAMAGES, flip, unseal

CPU = torch.device("cpu")
FILES = [WEIGHTS, MANIFEST, CHECKSUMS]


def saved(directory: Path, **changes: Any) -> Path:
    spec = TrainingSpec.of(LINE | changes)
    data = datasets.load(spec.dataset, spec.split, directory)
    run = Run(build(spec, data), data, spec, CPU)
    files = summary.summarize(run).files()
    save_model(directory, run.model, spec, data.signature, {}, "0" * 64, CPU, files)
    return directory


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "original", seed=1)


@pytest.fixture
def model(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


@pytest.fixture
def unsealed(model: Path) -> Path:
    """A model as an earlier version saved it."""
    unseal(model)
    return model


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_damaged_model_is_not_loaded(model: Path, name: str, damage: str) -> None:
    DAMAGES[damage](model / name)
    with pytest.raises(Damaged) as caught:
        Model.load(model)
    if damage != "flipped":  # a flipped bit of the list may be found as that of another file
        assert caught.value.path.name == name


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [EVALUATION, SAMPLE])
def test_damaged_summary_is_not_read(model: Path, name: str, damage: str) -> None:
    DAMAGES[damage](model / name)
    with pytest.raises(Damaged, match=name):
        TrainingSummary.load(model)


def test_bit_of_the_weights_counts(model: Path) -> None:
    path = model / WEIGHTS
    data = path.read_bytes()
    Model.load(model)
    for bit in range(0, 8 * len(data), 7):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(Damaged, match=f"{WEIGHTS} has the SHA-256"):
            Model.load(model)
    path.write_bytes(data)
    Model.load(model)


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST, EVALUATION, SAMPLE])
def test_valid_file_of_another_model_is_damage(model: Path, tmp_path: Path, name: str) -> None:
    other = saved(tmp_path / "other", seed=2, epochs=3)
    shutil.copy(other / name, model / name)
    load = TrainingSummary.load if name in (EVALUATION, SAMPLE) else Model.load
    with pytest.raises(Damaged, match=name):
        load(model)


def test_model_of_an_earlier_version_is_loaded(unsealed: Path) -> None:
    assert Model.load(unsealed).manifest.format == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_of_an_earlier_version_are_found(unsealed: Path, damage: str) -> None:
    DAMAGES[damage](unsealed / WEIGHTS)
    with pytest.raises(Damaged, match=WEIGHTS):
        Model.load(unsealed)


def _set(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update({key: value})


@pytest.mark.parametrize(
    "change",
    [
        _set("format", 3),
        _set("format", "two"),
        _set("spec", {}),
        _set("spec", {"model": {"kind": "mlp", "hidden": [3]}}),
        _set("spec", {"model": {"kind": "mlp", "hidden": "three"}}),
        _set("spec", {"model": {"kind": "unheard of"}}),
        _set("spec", {"model": []}),
        _set("signature", {}),
        _set("weights_sha256", "0" * 64),
        dict.clear,
        lambda document: document["signature"]["inputs"].update(names=["x", "y"]),
    ],
)
def test_manifest_that_says_something_else_is_damage(
    unsealed: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    manifest = json.loads((unsealed / MANIFEST).read_text())
    change(manifest)
    (unsealed / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(Damaged):
        Model.load(unsealed)


def test_list_of_checksums_cannot_just_vanish(model: Path) -> None:
    (model / CHECKSUMS).unlink()
    with pytest.raises(Damaged, match=f"{CHECKSUMS} is missing"):
        Model.load(model)


def test_repaired_model_is_loaded(model: Path) -> None:
    flip(model / WEIGHTS)
    with pytest.raises(Damaged):
        Model.load(model)
    flip(model / WEIGHTS)
    Model.load(model)
