"""A plain forward pass equals that of the modules, bit for bit."""

from typing import Any

import pytest
import torch
from torch import nn

from ml.evaluation.metrics import outputs
from ml.inference.forward import plain
from ml.models import MLPSpec
from ml.preprocessing import Standardize
from tests.ml.test_networks import COLOUR, GREY, data_of, spec_of

MODELS: list[dict[str, Any]] = [
    {"kind": "linear"},
    {"kind": "mlp"},
    {"kind": "mlp", "hidden": [20, 8], "activation": "gelu", "dropout": 0.5},
    {"kind": "cnn", "channels": [4], "hidden": [16]},
    {"kind": "torchvision", "name": "shufflenet_v2_x1_0"},
]


@pytest.mark.parametrize("rows", [1, 70])
@pytest.mark.parametrize("signature", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_plain_forward_matches_the_modules(
    model: dict[str, Any], signature: Any, rows: int
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential()
    network.add_module("preprocessing", data_of(signature).preprocessing)
    network.add_module("network", spec_of(model=model).model.build(signature))
    inputs = torch.randint(0, 256, (rows, *signature.inputs.shape), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(plain(network)(inputs), outputs(network, inputs))
    assert inputs.dtype == torch.uint8


def test_plain_forward_does_not_modify_its_inputs() -> None:
    network = nn.Sequential(Standardize(torch.zeros(3), torch.ones(3) * 2), nn.ReLU())
    inputs = torch.tensor([[-1.0, 2.0, 4.0]])
    assert plain(network)(inputs).tolist() == [[0, 1, 2]]
    assert inputs.tolist() == [[-1, 2, 4]]


def test_plain_forward_calls_no_modules() -> None:
    network = MLPSpec(hidden=[4], dropout=0.5).build(GREY)

    def fail(*_: object) -> None:
        raise AssertionError

    for layer in network.modules():
        layer.register_forward_hook(fail)
    plain(network)(torch.zeros(1, 28, 28))
