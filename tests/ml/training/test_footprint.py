"""The least memory of a run, compared with what networks save and optimizers keep."""

from typing import Any, get_args

import pytest
import torch
from torch import nn

from ml.errors import Invalid
from ml.images.decode import PictureForm
from ml.models import (
    CNNSpec,
    LinearSpec,
    MLPSpec,
    ModelSpec,
    TabMSpec,
    TorchvisionSpec,
    blueprint,
)
from ml.signature import Classes, Features, Images, Signature
from ml.specs import TrainingSpec
from ml.training.footprint import SAVED_PER_PIXEL, _saved_numbers, culprit, footprint
from tests.conftest import PLANE
from tests.ml.models.networks import sequential

NAMES = get_args(TorchvisionSpec.model_fields["name"].annotation)
DIGITS = Classes(names=[str(digit) for digit in range(10)])
FEATURES = Signature(inputs=Features(names=["a", "b"]), output=DIGITS)
STRIDED = {"conv2d": 4, "kernel_size": 5, "stride": 4, "padding": 2}


def images(size: int) -> Signature:
    form = PictureForm(channels=3, height=size, width=size)
    return Signature(inputs=Images(form=form), output=DIGITS)


def saved(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Return how many numbers the layers with weights take in for one row."""
    inputs: dict[int, torch.Tensor] = {}
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_pre_hook(
                lambda _, given: inputs.update({id(given[0]): given[0]})
            )
    with torch.no_grad():
        network.eval()(torch.empty((1, *shape), device="meta"))
    return sum(tensor.numel() for tensor in inputs.values())


def largest_output(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the most numbers that a layer with weights gives for one row."""
    sizes: list[int] = []
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(lambda *given: sizes.append(given[-1].numel()))
    with torch.no_grad():
        network.eval()(torch.empty((1, *shape), device="meta"))
    return max(sizes, default=0)


@pytest.mark.parametrize(
    ("model", "signature"),
    [
        (LinearSpec(), images(8)),
        (MLPSpec(hidden=[30, 20]), images(8)),
        (MLPSpec(hidden=[30, 20]), FEATURES),
        (CNNSpec(), images(28)),
        (CNNSpec(channels=[5, 6, 7], hidden=[]), images(33)),
        (CNNSpec(channels=[2, 40], hidden=[]), images(33)),
        (sequential(STRIDED, STRIDED, "flatten", {"residual": [{"linear": 36}]}), images(33)),
        (sequential({"linear": 300}, {"batch_norm": {}}, "relu"), FEATURES),
        (sequential("relu", "flatten", {"dropout": 0.5}, head=True), images(9)),
    ],
)
def test_saved_numbers_are_the_inputs_or_outputs_of_the_layers(
    model: ModelSpec, signature: Signature
) -> None:
    network = blueprint(model, signature)
    shape = signature.inputs.shape
    there = max(saved(network, shape), largest_output(network, shape))
    assert _saved_numbers(model, network, signature) == there


@pytest.mark.parametrize("name", NAMES)
def test_those_of_a_torchvision_network_are_not_more_than_it_saves(name: Any) -> None:
    model = TorchvisionSpec(name=name)
    for size in (32, 40, 64):
        signature = images(size)
        network = blueprint(model, signature)
        estimated = _saved_numbers(model, network, signature)
        assert 0.6 < estimated / saved(network, signature.inputs.shape) <= 1
    assert name in SAVED_PER_PIXEL


@pytest.mark.parametrize(("name", "least"), [("densenet121", 29), ("convnext_tiny", 32)])
def test_too_small_images_are_refused(name: Any, least: int) -> None:
    model = TorchvisionSpec(name=name)
    saved(blueprint(model, images(least)), (3, least, least))
    with pytest.raises(Invalid, match=f"at least {least}x{least}, and these are"):
        blueprint(model, images(least - 1))


@pytest.mark.parametrize(
    ("optimizer", "kept"),
    [
        ({"kind": "adam"}, 2),
        ({"kind": "adamw"}, 2),
        ({"kind": "sgd"}, 0),
        ({"kind": "sgd", "momentum": 0.9}, 1),
    ],
)
def test_the_state_of_an_optimizer_is_counted(optimizer: dict[str, Any], kept: int) -> None:
    spec = TrainingSpec.of(PLANE | {"optimizer": optimizer})
    weight = nn.Parameter(torch.ones(100))
    real = spec.optimizer.build([weight])
    weight.grad = torch.ones(100)
    real.step()
    state = [value for value in real.state[weight].values() if value.shape == weight.shape]
    assert spec.optimizer.state_per_weight == kept == len(state)
    need = footprint(spec)
    assert need.weights == (2 + kept) * 4 * need.parameters == (2 + kept) * 4 * 4


def test_averages_and_best_weights_are_counted() -> None:
    plain, kept = (
        footprint(TrainingSpec.of(PLANE | changes))
        for changes in ({}, {"keep_best": True, "average": "ema"})
    )
    assert kept.weights - plain.weights == 2 * 4 * plain.parameters


def test_a_batch_is_not_larger_than_the_training_rows() -> None:
    few = footprint(TrainingSpec.of(PLANE | {"batch_size": 100}))
    assert few.activations == 100 * 3 * 4
    all_rows = footprint(TrainingSpec.of(PLANE | {"batch_size": 1_000_000}))
    assert all_rows.activations == 800 * 3 * 4
    half = footprint(TrainingSpec.of(PLANE | {"batch_size": 100, "precision": "bfloat16"}))
    assert half.activations == few.activations / 2


def test_the_larger_part_is_at_fault() -> None:
    wide = {"model": {"kind": "mlp", "hidden": [1000]}}
    spec = TrainingSpec.of(PLANE | wide | {"batch_size": 1})
    assert culprit(spec, footprint(spec)) == ("model", "hidden")
    spec = TrainingSpec.of(PLANE | wide | {"batch_size": 100})
    assert culprit(spec, footprint(spec)) == ("batch_size",)
    spec = TrainingSpec.of(PLANE | {"batch_size": 1})
    assert culprit(spec, footprint(spec)) == ("model",)


def test_bins_of_an_embedding_are_saved() -> None:
    spec = TabMSpec(members=2, hidden=[3], bins=500)
    network = blueprint(spec, FEATURES).to_empty(device="cpu").train()
    numbers: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        numbers.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network(torch.zeros(1, 2))
    least = _saved_numbers(spec, blueprint(spec, FEATURES), FEATURES)
    assert 2 * 500 < least < sum(numbers)
