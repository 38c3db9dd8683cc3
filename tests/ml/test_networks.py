"""Convolutional networks train and predict on grey and colour images."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ml.artifacts import load_model, save_model
from ml.datasets import Dataset
from ml.datasets.mnist import FORMS
from ml.datasets.splits import Rows
from ml.errors import Invalid
from ml.models import count_parameters
from ml.preprocessing import Standardize
from ml.signature import Classes, Images, Signature
from ml.specs import TrainingSpec
from ml.training import loop
from ml.training.initial_model import build
from ml.training.run import Run

CPU = torch.device("cpu")
DIGITS = Classes(names=list("0123456789"))
GREY = Signature(inputs=Images(form=FORMS["mnist"]), output=DIGITS)


class Colour(Images):
    """A data set of colour images, which epochd does not include."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (3, 32, 32)


COLOUR = Signature(inputs=Colour(form=FORMS["mnist"]), output=DIGITS)
SMALL_CNN = {"kind": "cnn", "channels": [4, 8], "hidden": [16]}
RESNET = {"kind": "torchvision", "name": "resnet18"}


def spec_of(**changes: Any) -> TrainingSpec:
    document = {"dataset": {"kind": "mnist"}, "epochs": 1, "batch_size": 16, "device": "cpu"}
    return TrainingSpec.of(document | changes)


def data_of(signature: Signature, rows: int = 40) -> Dataset:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(
        0, 256, (rows, *signature.inputs.shape), dtype=torch.uint8, generator=random
    )
    labels = torch.arange(rows) % 10
    normalisation = Standardize(torch.tensor(0.5), torch.tensor(0.3), unit=255.0)
    return Dataset(signature, normalisation, Rows(images, labels), None, None)


@pytest.mark.parametrize("signature", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("model", [SMALL_CNN, RESNET], ids=["cnn", "resnet18"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_network_trains_and_is_saved(
    tmp_path: Path, model: dict[str, Any], signature: Signature, precision: str
) -> None:
    spec, data = spec_of(model=model, precision=precision), data_of(signature)
    run = Run(build(spec, data), data, spec, CPU)
    before = [parameter.detach().clone() for parameter in run.model.parameters()]
    reports = list(loop.train(run))
    assert [report.level for report in reports] == ["step", "epoch"]
    assert all(not torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))
    manifest = save_model(tmp_path / "model", run.model, spec, signature, {}, "", CPU)
    loaded = load_model(tmp_path / "model", manifest)
    with torch.inference_mode():
        torch.testing.assert_close(
            loaded(data.train.inputs), run.model(data.train.inputs), rtol=0, atol=0
        )


def test_cnn_overfits_a_handful_of_images() -> None:
    model = SMALL_CNN | {"dropout": 0.0}
    spec = spec_of(model=model, epochs=40, optimizer={"kind": "adam", "lr": 0.01})
    data = data_of(GREY)
    *_, last = loop.train(Run(build(spec, data), data, spec, CPU))
    assert last.values["train_loss"] < 0.5


def test_networks_have_the_expected_parameters() -> None:
    convolutions = 4 * 9 + 4 + 8 * 4 * 9 + 8
    affine = (8 * 7 * 7 + 1) * 16 + (16 + 1) * 10
    assert count_parameters(spec_of(model=SMALL_CNN).model, GREY) == convolutions + affine
    # He et al. 2015, with 10 classes in place of 1000.
    assert count_parameters(spec_of(model=RESNET).model, GREY) == 11_689_512 - 990 * (512 + 1)


def test_images_too_small_for_the_poolings_are_refused() -> None:
    spec = spec_of(model={"kind": "cnn", "channels": [2, 2, 2, 2, 2]})
    with pytest.raises(Invalid, match="5 poolings reduce 28x28 images to nothing"):
        count_parameters(spec.model, GREY)


@pytest.mark.parametrize(("rows", "batch_size"), [(33, 16), (40, 1)])
def test_batch_normalisation_needs_more_than_one_row(rows: int, batch_size: int) -> None:
    spec, data = spec_of(model=RESNET, batch_size=batch_size), data_of(GREY, rows)
    model = build(spec, data)
    with pytest.raises(Invalid, match="batch normalisation needs at least two") as error:
        Run(model, data, spec, CPU)
    assert error.value.loc == ("batch_size",)
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
