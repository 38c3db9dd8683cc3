"""Columns that do not vary are masked: every number becomes 0."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.inference.forward import plain
from ml.inputs.rows import FLOAT32_MAX
from ml.preprocessing import Encode, Standardize, moments
from ml.signature import Encoding, Features

NAN = math.nan
NUMBERS = st.floats(-FLOAT32_MAX, FLOAT32_MAX)


@pytest.mark.parametrize(
    "column",
    [
        [5.0] * 7,
        [0.0] * 7,
        [-0.1] * 49,
        [1e30] * 7,
        [FLOAT32_MAX] * 7,
        [1e-30] * 7,
        [NAN, 3.0, NAN, 3.0],
        [NAN] * 4,
        [1.0],
        [0.3, 0.1 + 0.2, 0.3],
        [1e30, math.nextafter(1e30, 0)],
    ],
    ids=str,
)
def test_columns_that_do_not_vary_are_masked(column: list[float]) -> None:
    varied = torch.arange(len(column), dtype=torch.float64)
    inputs = torch.stack([torch.tensor(column, dtype=torch.float64), varied], dim=1)
    mean, std = moments(inputs)
    known = [number for number in column if not math.isnan(number)]
    assert mean[0].item() == pytest.approx(known[0] if known else 0.0, rel=1e-12)
    assert std[0].isinf()
    assert std[1].isinf() == (len(column) == 1)


@pytest.mark.parametrize(
    ("column", "mean", "std"),
    [
        ([1.0, 3.0], 2.0, 1.0),
        ([1.7e9, 1.7e9 + 1], 1.7e9 + 0.5, 0.5),
        ([NAN, 1e-30, 3e-30], 2e-30, 1e-30),
        ([0.0] * 99 + [1.0], 0.01, math.sqrt(0.0099)),
        ([FLOAT32_MAX, -FLOAT32_MAX], 0.0, FLOAT32_MAX),
        ([1e6] * 999 + [1e6 + 1], 1e6 + 1e-3, math.sqrt(0.000999)),
    ],
)
def test_columns_that_vary_keep_mean_and_deviation(
    column: list[float], mean: float, std: float
) -> None:
    found = moments(torch.tensor(column, dtype=torch.float64).unsqueeze(1))
    assert [moment.item() for moment in found] == pytest.approx([mean, std], rel=1e-9)


def test_spread_of_single_floats_is_judged_by_their_own_rounding() -> None:
    column = torch.tensor([[1e9], [1e9 + 64]])
    assert moments(column)[1].isinf()
    assert not moments(column.double())[1].isinf()
    rare = torch.full((100_000, 1), 1e6)
    rare[0] += 1
    assert moments(rare)[1].isfinite()


@pytest.mark.parametrize("columns", [15, 16, 17, 40])
def test_every_column_of_a_wide_table_is_measured(columns: int) -> None:
    inputs = torch.stack([torch.zeros(columns), torch.arange(columns)]).double()
    mean, std = moments(inputs)
    assert mean.tolist() == [n / 2 for n in range(columns)]
    assert std.tolist() == [math.inf, *(n / 2 for n in range(1, columns))]


@given(NUMBERS, NUMBERS, NUMBERS)
def test_masked_numbers_become_0_whatever_they_are(x: float, constant: float, y: float) -> None:
    trained = torch.tensor([[1.0, constant / 10], [3.0, constant / 10]])
    raw = torch.tensor([[x, y]])
    layer = Standardize(*moments(trained))
    for encoded in (layer(raw), plain(torch.nn.Sequential(layer))(raw)):
        assert encoded[0, 1] == 0
        assert encoded[0, 0] == (torch.tensor(x) - 2)
    masked = Standardize.mask(torch.tensor([False, True]))
    assert masked(raw).tolist() == [[torch.tensor(x).item(), 0.0]]


@settings(max_examples=50)
@given(st.lists(NUMBERS | st.just(NAN), min_size=3, max_size=3), st.sampled_from([-1.0, 0.0, NAN]))
def test_masked_features_of_a_table_become_0_whatever_they_are(
    numbers: list[float], code: float
) -> None:
    encoding = Encoding(
        booleans=["always"],
        categories={"colour": ["red"]},
        masked=["same", "always", "none", "colour"],
        width=5,
    )
    features = Features(names=["same", "x", "always", "none", "colour"], encoding=encoding)
    trained = torch.tensor([[7, 1, 1, NAN, 0], [7, 3, 1, NAN, 0]], dtype=torch.float64)
    layer = Encode.of(features, *moments(trained))
    assert layer.masked().tolist() == [True, False, True, True, True]
    same, *rest = numbers
    raw = torch.tensor([[same, 1.0, *rest, code]], dtype=torch.float64)
    assert layer(raw).tolist() == [[0, -1, 0, 0, 0]]
    weights = torch.tensor([5.0, 2.0, 5.0, 5.0, 5.0], dtype=torch.float64)
    named, shift = layer.undo(features, weights)
    assert named == {"same": 0, "x": 2, "always": 0, "none": 0, "colour=red": 0}
    assert shift == -4


def test_models_of_earlier_versions_predict_as_before() -> None:
    encoding = Encoding(categories={"colour": ["red"]}, gaps=["none"], width=4)
    layer = Encode.blank(Features(names=["same", "none", "colour"], encoding=encoding))
    state = {"mean": torch.tensor([5.0, 0.0]), "std": torch.tensor([1.0, 1.0])}
    layer.load_state_dict({name: value.double() for name, value in state.items()})
    raw = torch.tensor([[7, NAN, 0], [5, 3, -1]], dtype=torch.float64)
    assert layer(raw).tolist() == [[2, 0, 1, 1], [0, 3, 0, 0]]
    assert not layer.masked().any()
