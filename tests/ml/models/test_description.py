"""Descriptions of networks agree with what the networks compute."""

from typing import Any

import pytest

from ml.models import CNNSpec, LinearSpec, MLPSpec, TorchvisionSpec, blueprint
from ml.models.description import describe, trace
from tests.ml.models.networks import GREY, ROWS, TABLE, network


def test_layers_have_their_shapes_and_parameters() -> None:
    model = network(GREY, {"conv2d": 4, "kernel_size": 3}, "relu", "flatten", {"linear": 8})
    found = [(layer.name, layer.shape, layer.parameter_count) for layer in trace(model, GREY)]
    assert found == [
        ("channels", (1, 28, 28), 0),
        ("0", (4, 26, 26), 40),
        ("1", (4, 26, 26), 0),
        ("2", (2704,), 0),
        ("3", (8,), 2705 * 8),
        ("head", (10,), 90),
    ]


def test_residual_layers_follow_their_layers() -> None:
    model = network(ROWS, {"residual": [{"linear": 3}, "relu"]})
    found = [(layer.name, layer.parameter_count) for layer in trace(model, ROWS)]
    assert found == [("0.0", 12), ("0.1", 0), ("0", 0), ("head", 4)]


@pytest.mark.parametrize(
    ("spec", "signature", "multiply_adds"),
    [
        (LinearSpec(), ROWS, 3),
        (MLPSpec(hidden=[5, 4]), ROWS, 15 + 20 + 4),
        (MLPSpec(hidden=[4], embedding=2), TABLE, 3 * 2 + 4 * 4 + 4),
        (
            CNNSpec(channels=[4], hidden=[]),
            GREY,
            4 * 9 * 28 * 28 + 4 * 14 * 14 * 10,
        ),
    ],
)
def test_multiply_adds_are_counted(spec: Any, signature: Any, multiply_adds: int) -> None:
    assert describe(blueprint(spec, signature), signature).multiply_adds == multiply_adds


def test_a_network_of_torchvision_has_the_published_cost() -> None:
    resnet = TorchvisionSpec(name="resnet18")
    description = describe(blueprint(resnet, GREY), GREY)
    counts = [layer.parameter_count for layer in description.layers]
    assert sum(counts) == 11_689_512 - 990 * 513
    assert description.parameters["network.1.fc.weight"] == (10, 512)
    # He et al. 2015: 1.8e9 for images of 224x224, of which 28x28 is a 64th, but for padding.
    assert 1.8e9 / 64 < description.multiply_adds < 1.3 * 1.8e9 / 64
