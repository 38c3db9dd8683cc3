"""The shapes that layers give are those of torch, as are their defaults."""

import inspect
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ml.dropout import Dropout
from ml.errors import Invalid
from ml.models.layer_documents import read_layers
from ml.models.sequence import LAYERS, Residual, shapes, with_layers

ROW, IMAGES = (6,), (4, 9, 13)

EXAMPLES: list[tuple[Any, tuple[int, ...], type[nn.Module]]] = [
    ({"linear": 5}, ROW, nn.Linear),
    ({"linear": 5, "bias": False}, ROW, nn.Linear),
    ("relu", IMAGES, nn.ReLU),
    ("gelu", ROW, nn.GELU),
    ("silu", ROW, nn.SiLU),
    ("tanh", ROW, nn.Tanh),
    ("sigmoid", ROW, nn.Sigmoid),
    ("softplus", ROW, nn.Softplus),
    ("mish", ROW, nn.Mish),
    ("selu", ROW, nn.SELU),
    ("leaky_relu", ROW, nn.LeakyReLU),
    ({"leaky_relu": 0.2}, ROW, nn.LeakyReLU),
    ("elu", ROW, nn.ELU),
    ({"elu": 0.5}, ROW, nn.ELU),
    ("dropout", ROW, Dropout),
    ({"dropout": 0.1}, IMAGES, Dropout),
    ("flatten", IMAGES, nn.Flatten),
    ("batch_norm", ROW, nn.BatchNorm1d),
    ({"batch_norm": {}}, IMAGES, nn.BatchNorm2d),
    ({"batch_norm": {"momentum": 0.5}, "affine": False}, ROW, nn.BatchNorm1d),
    ("layer_norm", IMAGES, nn.LayerNorm),
    ({"layer_norm": {}, "elementwise_affine": False}, ROW, nn.LayerNorm),
    ({"group_norm": 2}, IMAGES, nn.GroupNorm),
    ({"conv2d": 8, "kernel_size": 3}, IMAGES, nn.Conv2d),
    ({"conv2d": {"out_channels": 8, "kernel_size": [3, 5]}, "groups": 4}, IMAGES, nn.Conv2d),
    ({"conv2d": 8, "kernel_size": 4, "padding": "same", "dilation": 2}, IMAGES, nn.Conv2d),
    ({"conv2d": 8, "kernel_size": 3, "padding": "valid", "stride": 2}, IMAGES, nn.Conv2d),
    ({"max_pool2d": 2}, IMAGES, nn.MaxPool2d),
    ({"max_pool2d": 3, "stride": 2, "padding": 1}, IMAGES, nn.MaxPool2d),
    ({"avg_pool2d": [2, 3], "ceil_mode": True}, IMAGES, nn.AvgPool2d),
    ({"adaptive_avg_pool2d": 1}, IMAGES, nn.AdaptiveAvgPool2d),
    ({"adaptive_max_pool2d": [2, 3]}, IMAGES, nn.AdaptiveMaxPool2d),
    ({"residual": [{"linear": 6}, "relu"]}, ROW, Residual),
]


def built(document: Any, shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
    """Return the module of one layer, and the shape that it is said to give."""
    layers = read_layers([document])
    [module] = with_layers(nn.Sequential(), layers, shape)
    return module, shapes(layers, shape)[-1]


def test_every_layer_has_an_example() -> None:
    assert {layer.kind for document, *_ in EXAMPLES for layer in read_layers([document])} == {
        *LAYERS
    }


@pytest.mark.parametrize(("document", "shape", "kind"), EXAMPLES, ids=str)
def test_layers_give_the_shape_they_say(
    document: Any, shape: tuple[int, ...], kind: type[nn.Module]
) -> None:
    module, gives = built(document, shape)
    assert type(module) is kind
    assert module.eval()(torch.zeros((2, *shape))).shape == (2, *gives)


@pytest.mark.parametrize(("document", "shape", "kind"), EXAMPLES, ids=str)
def test_options_are_written_back(
    document: Any, shape: tuple[int, ...], kind: type[nn.Module]
) -> None:
    [layer] = read_layers([document])
    written = layer.model_dump(mode="json")
    assert "name" not in written
    assert read_layers([written]) == [layer]


@pytest.mark.parametrize(("document", "shape", "kind"), EXAMPLES, ids=str)
def test_defaults_are_those_of_torch(
    document: Any, shape: tuple[int, ...], kind: type[nn.Module]
) -> None:
    [layer] = read_layers([document])
    theirs = inspect.signature(kind).parameters
    for name, field in type(layer).model_fields.items():
        if name in theirs and not field.is_required():
            assert field.default == theirs[name].default, name


SIZES = st.integers(1, 5)


@settings(max_examples=150, deadline=None, database=None)
@given(
    kind=st.sampled_from(["conv2d", "max_pool2d", "avg_pool2d"]),
    kernel=st.tuples(SIZES, SIZES).map(list) | SIZES,
    stride=st.none() | st.tuples(SIZES, SIZES).map(list) | SIZES,
    padding=st.integers(0, 3),
    dilation=st.integers(1, 3),
    ceil_mode=st.booleans(),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
)
def test_windows_take_the_positions_of_torch(
    kind: str,
    kernel: Any,
    stride: Any,
    padding: int,
    dilation: int,
    ceil_mode: bool,
    size: tuple[int, int],
) -> None:
    document: dict[str, Any] = {kind: 2, "kernel_size": kernel, "padding": padding}
    if kind == "conv2d":
        document |= {"dilation": dilation, "stride": stride or 1}
    else:
        document = {kind: kernel, "padding": padding, "stride": stride, "ceil_mode": ceil_mode}
    try:
        module, gives = built(document, (1, *size))
    except Invalid as error:
        assert "does not fit" in error.msg or "at most half" in error.msg  # noqa: PT017
        return
    assert module(torch.zeros((1, 1, *size))).shape[1:] == gives
