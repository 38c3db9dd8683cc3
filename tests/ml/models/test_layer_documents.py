"""Layers as users write them, and mistakes in them."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.errors import Invalid
from ml.models.layer_documents import MAX_DEPTH, MAX_LAYERS, read_layers, stored_layers
from ml.models.sequence import LAYERS


def refusal(*layers: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        read_layers(list(layers))
    return caught.value


@pytest.mark.parametrize(
    "written",
    [
        {"conv2d": 32, "kernel_size": 3},
        {"conv2d": {"out_channels": 32, "kernel_size": 3}},
        {"conv2d": {"kernel_size": 3}, "out_channels": 32},
    ],
)
def test_options_stand_beside_the_kind_or_in_its_value(written: Any) -> None:
    assert read_layers([written]) == read_layers([{"conv2d": 32, "kernel_size": 3, "stride": 1}])


def test_stored_layers_are_not_validated_again() -> None:
    written = [
        {"linear": 10**9, "name": "a name that is no longer allowed", "bias": True},
        {"residual": [{"relu": {}}, {"dropout": 0.5}]},
    ]
    layers = stored_layers(written)
    assert [layer.model_dump() for layer in layers] == written
    with pytest.raises(Invalid):
        read_layers(written)


@pytest.mark.parametrize(
    ("layers", "loc", "says"),
    [
        ([3], (0,), "layer 1: must be a name such as"),
        (["lineer"], (0,), "layer 1: unknown layer 'lineer'; did you mean linear?"),
        (["Conv2D"], (0,), "layer 1: unknown layer 'Conv2D'; did you mean conv2d?"),
        (["zzz"], (0,), "layer 1: unknown layer 'zzz'; known: linear, relu"),
        (["relu", "softmax"], (1,), "layer 2 (softmax): the loss cross_entropy includes it"),
        (["relu", {"BatchNorm1d": 3}], (1,), "did you mean batch_norm?"),
        ([{}], (0,), "layer 1: names no layer"),
        ([{"name": "a"}], (0,), "layer 1: names no layer"),
        ([{"linear": 3, "relu": {}}], (0,), "names several layers, linear and relu"),
        ([{"kind": "linear", "out_features": 3}], (0,), 'write {"linear": 64} instead of'),
        ([{"linear": 3, "kind": "linear"}], (0, "kind"), "leave kind out"),
        (["linear"], (0,), 'layer 1 (linear): needs out_features; write for example {"linear": 64'),
        ([{"conv2d": 3}], (0,), 'needs kernel_size; write for example {"conv2d": 32, "kernel_siz'),
        (["residual"], (0,), "layer 1 (residual): needs layers"),
        ([{"residual": 3}], (0, "residual"), "must be a list of layers"),
        ([{"residual": []}], (0, "residual"), f"must have 1 to {MAX_LAYERS} layers, not 0"),
        ([{"linear": 0}], (0, "linear"), "layer 1 (linear): out_features: input should be greater"),
        ([{"linear": True}], (0, "linear"), "integer"),
        ([{"linear": "3"}], (0, "linear"), "integer"),
        ([{"linear": 10**7}], (0, "linear"), "less than or equal to 1000000"),
        (
            [{"dropout": 1.0}],
            (0, "dropout"),
            "layer 1 (dropout): p: input should be less than or equal to 0.999",
        ),
        ([{"dropout": 0.2, "inplace": True}], (0, "inplace"), "unknown field; known: kind"),
        ([{"relu": 3}], (0, "relu"), 'takes no value; write "relu"'),
        ([{"batch_norm": 3}], (0, "batch_norm"), "takes no value"),
        ([{"batch_norm": {"epps": 3}}], (0, "epps"), "unknown field; did you mean eps?"),
        ([{"conv2d": 3, "kernel_size": [3]}], (0, "kernel_size"), "at least 2 items"),
        ([{"conv2d": 3, "kernel_size": [3, 0]}], (0, "kernel_size", 1), "greater than or equal"),
        ([{"conv2d": 3, "kernel_size": 3, "padding": "sane"}], (0, "padding"), "'same' or 'valid'"),
        (
            [{"conv2d": 3, "kernel_size": 3, "padding": "same", "stride": 2}],
            (0,),
            'layer 1 (conv2d): padding "same" needs a stride of 1',
        ),
        ([{"max_pool2d": 2, "padding": 2}], (0,), "padding must be at most half of kernel_size"),
        (
            [{"linear": 3, "name": "train"}],
            (0, "name"),
            "layer 1 (linear 'train'): name: 'train' is",
        ),
        ([{"linear": 3, "name": "a b"}], (0, "name"), "must be a letter or _"),
        ([{"linear": 3, "name": "0"}], (0, "name"), "must be a letter or _"),
        ([{"linear": 3, "name": 3}], (0, "name"), "string"),
        (
            [{"linear": 3, "name": "a"}, "relu", {"linear": 3, "name": "a"}],
            (2, "name"),
            "layer 3 (linear 'a'): has the name of layer 1",
        ),
        (
            ["relu", {"residual": ["relu", {"residual": ["relu", "rellu"]}]}],
            (1, "residual", 1, "residual", 1),
            "layer 2.2.2: unknown layer 'rellu'; did you mean relu?",
        ),
    ],
)
def test_mistakes_name_the_layer(layers: list[Any], loc: tuple[Any, ...], says: str) -> None:
    error = refusal(*layers)
    assert says in error.msg
    assert error.loc == loc


def test_layers_of_a_residual_layer_have_names_of_their_own() -> None:
    inner = {"residual": [{"linear": 3, "name": "a"}], "name": "b"}
    assert read_layers([{"linear": 3, "name": "a"}, inner])


def test_number_and_depth_are_limited() -> None:
    read_layers(["relu"] * MAX_LAYERS)
    assert "not 257" in refusal(*["relu"] * (MAX_LAYERS + 1)).msg
    within = {"residual": ["relu"] * (MAX_LAYERS - 1)}
    read_layers([within])
    assert "in all, not 257" in refusal("relu", within).msg
    deep: Any = "relu"
    for _ in range(MAX_DEPTH):
        deep = {"residual": [deep]}
    read_layers([deep])
    assert "deep" in refusal({"residual": [deep]}).msg


JSON: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 10**7)
    | st.floats(allow_nan=False)
    | st.sampled_from([*LAYERS, "same", "", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*LAYERS, "name", "kernel_size", "kind", "padding", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, database=None)
@given(st.lists(JSON, max_size=4) | JSON)
def test_any_document_is_read_or_refused(document: Any) -> None:
    try:
        layers = read_layers(document)
    except Invalid:
        return
    written = [layer.model_dump(mode="json") for layer in layers]
    assert read_layers(written) == layers == stored_layers(written)
