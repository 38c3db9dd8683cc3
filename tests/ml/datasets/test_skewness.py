"""Targets far more skewed than their logarithms."""

import pytest
import torch

from ml.datasets.skewness import skewness, warnings

NORMAL = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_skewness_is_the_third_standardised_moment() -> None:
    # 0, 0, 0, 4: mean 1, variance 3, third central moment (-1 - 1 - 1 + 27) / 4 = 6.
    assert skewness(torch.tensor([0.0, 0, 0, 4]).double()) == pytest.approx(6 / 3**1.5)
    assert skewness(torch.full((9,), 5.0).double()) == 0
    assert skewness(1e300 * NORMAL.exp().flatten()) == pytest.approx(
        skewness(NORMAL.exp().flatten())
    )


def test_prices_are_warned_of() -> None:
    [warning] = warnings(["price"], NORMAL.exp())
    assert (warning.column, warning.kind) == ("price", "skewed")
    assert "'price' has a skewness of 3.3, and its logarithm of -0.1: " in warning.message


@pytest.mark.parametrize(
    "targets",
    [
        NORMAL,
        NORMAL + 10,
        NORMAL.exp() - 1,
        -NORMAL.exp(),
        NORMAL.exp()[:10],
        torch.rand(1000, 1, generator=torch.Generator().manual_seed(0)) + 1,
        # The logarithm is as skewed.
        torch.tensor([[1.0]] * 95 + [[2.0]] * 5),
        torch.full((100, 1), 3.0),
    ],
)
def test_others_are_not(targets: torch.Tensor) -> None:
    assert warnings(["y"], targets) == []


def test_each_target_is_judged_by_its_own_values() -> None:
    names, columns = ["price", "weight", "area"], [NORMAL.exp(), NORMAL + 10, (2 * NORMAL).exp()]
    found = warnings(names, torch.cat(columns, 1))
    assert [warning.column for warning in found] == ["price", "area"]
