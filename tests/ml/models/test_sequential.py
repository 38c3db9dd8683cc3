"""Networks of a user's own layers: sizes are inferred, and layers that do not fit are explained."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ml.artifacts import load_model, save_model
from ml.errors import Invalid
from ml.models import count_parameters
from ml.specs import TrainingSpec
from ml.training import loop
from ml.training.initial_model import build
from ml.training.run import Run
from tests.ml.models.networks import COLOUR, DIGITS, GREY, ROWS, TABLE, network, refusal, sequential
from tests.ml.test_networks import data_of, spec_of

CPU = torch.device("cpu")
CONVOLUTIONS = [
    {"conv2d": 6, "kernel_size": 3, "padding": "same", "name": "conv1"},
    "relu",
    {"max_pool2d": 2},
    {"residual": [{"conv2d": 6, "kernel_size": 3, "padding": 1}, {"batch_norm": {}}, "relu"]},
    "flatten",
    {"linear": 16, "name": "fc1"},
    {"layer_norm": {}},
    {"dropout": 0.2},
]


def test_sizes_are_inferred_and_names_are_kept() -> None:
    grey = network(GREY, *CONVOLUTIONS)
    shapes = {name: tuple(one.shape) for name, one in grey.named_parameters()}
    assert shapes["conv1.weight"] == (6, 1, 3, 3)
    assert shapes["3.0.weight"] == (6, 6, 3, 3)
    assert shapes["fc1.weight"] == (16, 6 * 14 * 14)
    assert shapes["head.weight"] == (10, 16)
    assert "(fc1): Linear(in_features=1176, out_features=16, bias=True)" in str(grey)
    colour = network(COLOUR, *CONVOLUTIONS)
    assert colour.get_parameter("conv1.weight").shape == (6, 3, 3, 3)
    assert colour.get_parameter("fc1.weight").shape == (16, 6 * 10 * 15)


def test_rows_need_no_flatten() -> None:
    rows = network(ROWS, {"linear": 4}, "tanh")
    assert [type(layer) for layer in rows.children()] == [nn.Linear, nn.Tanh, nn.Linear]
    assert rows.get_parameter("head.weight").shape == (1, 4)


def test_the_output_layer_can_be_left_out() -> None:
    own = network(GREY, "flatten", {"linear": 10, "name": "head"}, head=False)
    assert list(dict(own.named_children())) == ["0", "head"]


@pytest.mark.parametrize(
    ("signature", "layers", "options", "loc", "says"),
    [
        (
            GREY,
            ["flatten", {"linear": 64}, {"conv2d": 8, "kernel_size": 3, "name": "late"}],
            {},
            ("layers", 2),
            "layer 3 (conv2d 'late'): takes images of channels x height x width, and gets 64 "
            "numbers, since layer 1 flattens; put it before flatten",
        ),
        (
            ROWS,
            [{"max_pool2d": 2}],
            {},
            ("layers", 0),
            "and gets 3 numbers, since the rows of this data set are not images; use linear",
        ),
        (
            GREY,
            [{"linear": 64}],
            {},
            ("layers", 0),
            "layer 1 (linear): takes a row of numbers, and gets images of 1 x 28 x 28 (channels x "
            "height x width); put flatten before it",
        ),
        (
            GREY,
            [{"conv2d": 4, "kernel_size": 3}],
            {},
            ("layers",),
            "the output layer takes a row of numbers, and the last layer gives images of 4 x 26 x "
            "26 (channels x height x width); end with flatten",
        ),
        (
            GREY,
            [{"max_pool2d": 9}, {"conv2d": 4, "kernel_size": [2, 4]}],
            {},
            ("layers", 1, "kernel_size"),
            "layer 2 (conv2d): a window of 2 x 4 does not fit into the images it gets, 3 x 3",
        ),
        (
            GREY,
            ["flatten", {"residual": [{"linear": 64}]}],
            {},
            ("layers", 1),
            "layer 2 (residual): adds its input to the output of its layers, so both must have one "
            "shape; its input is 784 numbers and the output 64 numbers; end it with "
            '{"linear": 784}, or leave out',
        ),
        (
            COLOUR,
            [{"residual": [{"conv2d": 8, "kernel_size": 1}]}, "flatten"],
            {},
            ("layers", 0),
            'end it with {"conv2d": 3, "kernel_size": 3, "padding": "same"}',
        ),
        (
            GREY,
            ["flatten", {"residual": ["relu", {"conv2d": 3, "kernel_size": 3}]}],
            {},
            ("layers", 1, "residual", 1),
            "layer 2.2 (conv2d): takes images of channels x height x width, and gets 784 numbers, "
            "since layer 1 flattens",
        ),
        (
            GREY,
            [{"conv2d": 6, "kernel_size": 1, "groups": 2}],
            {},
            ("layers", 0, "groups"),
            "1 channels cannot be divided into 2 equal groups",
        ),
        (
            COLOUR,
            [{"group_norm": 2}, "flatten"],
            {},
            ("layers", 0, "num_groups"),
            "3 channels cannot be divided into 2 equal groups",
        ),
        (
            GREY,
            [{"conv2d": 1_000_000, "kernel_size": 1}, "flatten"],
            {},
            ("layers", 0),
            "gives 1,000,000 x 28 x 28 = 784,000,000 numbers for each row; at most 100,000,000",
        ),
        (
            GREY,
            ["flatten", {"linear": 64}],
            {"head": False},
            ("layers",),
            "the last layer gives 64 numbers, and this data set needs 10 numbers, one for each "
            'class; end with {"linear": 10}, or leave head out',
        ),
        (ROWS, ["relu"], {"head": False}, ("layers",), "needs 1 number, the value; end with"),
        (
            GREY,
            ["flatten", {"linear": 64, "name": "head"}],
            {},
            ("layers", 1, "name"),
            "layer 2 (linear 'head'): the name is that of the output layer; choose another",
        ),
        (
            GREY,
            [{"conv2d": 2, "kernel_size": 3, "name": "channels"}, "flatten"],
            {},
            ("layers", 0, "name"),
            "the part that gives images their channels; choose another",
        ),
        (
            TABLE,
            [{"residual": [{"linear": 5}]}],
            {},
            ("layers", 0),
            "known only when its rows are loaded; put a linear layer first",
        ),
    ],
)
def test_layers_that_do_not_fit_are_explained(
    signature: Any, layers: list[Any], options: Any, loc: tuple[Any, ...], says: str
) -> None:
    error = refusal(signature, *layers, **options)
    assert says in error.msg
    assert error.loc == loc


def test_layers_of_a_table_suit_any_number_of_categories() -> None:
    assert network(TABLE, {"batch_norm": {}}, {"residual": ["relu"]}, {"linear": 3})


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_network_trains_and_is_saved(tmp_path: Path, precision: str) -> None:
    model = {"kind": "sequential", "layers": CONVOLUTIONS}
    spec, data = spec_of(model=model, precision=precision), data_of(GREY)
    run = Run(build(spec, data), data, spec, CPU)
    before = [parameter.detach().clone() for parameter in run.model.parameters()]
    list(loop.train(run))
    assert all(not torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))
    manifest = save_model(tmp_path / "model", run.model, spec, GREY, {}, "", CPU)
    assert "network.fc1.weight" in [parameter.name for parameter in manifest.parameters]
    loaded = load_model(tmp_path / "model", manifest)
    with torch.inference_mode():
        torch.testing.assert_close(
            loaded(data.train.inputs), run.model(data.train.inputs), rtol=0, atol=0
        )


def test_batch_normalisation_needs_more_than_one_row() -> None:
    model = {"kind": "sequential", "layers": ["flatten", {"batch_norm": {}}]}
    spec, data = spec_of(model=model), data_of(GREY, 33)
    with pytest.raises(Invalid, match="batch normalisation needs at least two"):
        Run(build(spec, data), data, spec, CPU)


def test_shown_spec_is_the_same_spec() -> None:
    spec = spec_of(model={"kind": "sequential", "layers": CONVOLUTIONS})
    assert TrainingSpec.of(spec.model_dump(mode="json")) == spec
    assert spec.model.model_dump()["layers"][5] == {"linear": 16, "bias": True, "name": "fc1"}


def test_residual_layers_add() -> None:
    spec = sequential({"residual": [{"linear": 3, "name": "f"}]}, {"linear": 1}, head=False)
    built = spec.build(ROWS)
    x = torch.randn(5, 3)
    residual = built.get_submodule("0")
    torch.testing.assert_close(residual(x), x + built.get_submodule("0.f")(x))


def test_huge_networks_are_counted_without_memory() -> None:
    wide = sequential("flatten", {"linear": 1_000_000}, {"linear": 1_000_000})
    assert count_parameters(wide, GREY) == 785 * 10**6 + (10**6 + 1) * 10**6 + 10 * (10**6 + 1)
    assert DIGITS.size == 10
