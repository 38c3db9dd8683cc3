"""Shares of predictors are the best on the simplex."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ml.models.shares import (
    drawn_to_half,
    is_better,
    losses_of_classes,
    losses_of_values,
    shares_of_classes,
    shares_of_values,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def alike(rows: int) -> Tensor:
    return torch.ones(rows, dtype=torch.float64)


def simplex(count: int, points: int = 4000) -> Tensor:
    """Return random points of the simplex, many of them on its edges."""
    random = torch.Generator().manual_seed(1)
    raw = -torch.rand(points, count, generator=random).double().log()
    raw = torch.where(torch.rand(points, count, generator=random) < 0.3, 0.0, raw)
    raw[raw.sum(1) == 0] = 1.0
    return raw / raw.sum(1, keepdim=True)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_shares_have_a_lower_squared_error(seed: int) -> None:
    targets = drawn(60, seed=seed)
    noise = drawn(60, 4, seed=seed + 100) * torch.tensor([0.5, 0.6, 1.0, 3.0])
    predictions = targets[:, None] + noise + torch.tensor([0.0, 0.3, -0.5, 0.0])
    shares = shares_of_values(predictions - targets[:, None], alike(60))
    assert shares.min() >= 0
    assert shares.sum() == pytest.approx(1)
    others = simplex(4)
    errors = (predictions @ others.T - targets[:, None]).square().mean(0)
    assert (predictions @ shares - targets).square().mean() <= errors.min() + 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_no_other_shares_have_a_lower_log_loss(seed: int) -> None:
    right = torch.zeros(80, dtype=torch.int64)
    logits = drawn(4, 80, 3, seed=seed) * torch.tensor([0.5, 1.0, 2.0, 0.1])[:, None, None]
    logits[:3, :, 0] += 1.0
    likelihoods = logits.log_softmax(2)[:, torch.arange(80), right].T.contiguous()
    shares = shares_of_classes(likelihoods, alike(80))
    assert shares.min() >= 0
    assert shares.sum() == pytest.approx(1)
    losses = -(likelihoods.exp() @ simplex(4).T).log().mean(0)
    assert -(likelihoods.exp() @ shares).log().mean() <= losses.min() + 1e-3


def test_equal_and_perfect_predictors_have_shares_too() -> None:
    targets = drawn(20)
    twice = torch.stack([targets + 1, targets + 1], 1)
    assert shares_of_values(twice - targets[:, None], alike(20)).sum() == pytest.approx(1)
    exact = torch.stack([targets + 1, targets, drawn(20, seed=3)], 1)
    shares = shares_of_values(exact - targets[:, None], alike(20))
    assert shares.tolist() == pytest.approx([0, 1, 0], abs=1e-6)


def test_single_row_has_shares() -> None:
    assert shares_of_values(drawn(1, 3), alike(1)).sum() == pytest.approx(1)
    assert shares_of_classes(drawn(1, 3) - 5, alike(1)).sum() == pytest.approx(1)


@pytest.mark.parametrize("find", [shares_of_values, shares_of_classes])
def test_row_that_weighs_more_is_several_rows(find: Callable[[Tensor, Tensor], Tensor]) -> None:
    figures, times = -drawn(40, 3).abs(), torch.arange(40) % 4 + 1
    repeated = figures.repeat_interleave(times, dim=0)
    found, expected = find(figures, 2.5 * times.double()), find(repeated, alike(len(repeated)))
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    assert found.tolist() != pytest.approx(find(figures, alike(40)).tolist(), abs=1e-3)


def test_probability_of_zero_is_left_out() -> None:
    likelihoods = torch.tensor([[-torch.inf, -1.0], [-0.1, -1.0]]).double()
    shares = shares_of_classes(likelihoods, alike(2))
    assert shares.isfinite().all()
    assert shares[1] > 0


def test_share_is_drawn_to_a_half_where_rows_cannot_tell() -> None:
    errors = drawn(100, 2)
    assert drawn_to_half(0.5, errors, losses_of_values) == 0.5
    # 100 rows say 0.6, and 150 a half.
    assert drawn_to_half(0.6, errors, losses_of_values) == pytest.approx(0.54)
    assert drawn_to_half(0.6, drawn(9_850, 2), losses_of_values) == pytest.approx(0.5985)
    likelihoods = drawn(100, 2) - 5
    assert drawn_to_half(0.6, likelihoods, losses_of_classes) == pytest.approx(0.54)


def test_share_is_not_drawn_to_what_is_worse() -> None:
    better = torch.stack([drawn(40), 0.01 * drawn(40, seed=1)], 1)
    assert drawn_to_half(1.0, better, losses_of_values) > 0.9
    assert drawn_to_half(0.0, better.flip(1), losses_of_values) < 0.1
    assert drawn_to_half(1.0, better[:1], losses_of_values) == 1.0


def test_gain_must_be_more_than_chance_or_large() -> None:
    losses = drawn(100).abs()
    assert is_better(losses, losses + 0.1)
    assert not is_better(losses, losses)
    noise = drawn(100, seed=1)
    assert not is_better(losses, losses + 0.001 + noise - noise.mean()), "within the noise"
