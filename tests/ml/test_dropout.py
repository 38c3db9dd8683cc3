"""Dropout on the CPU: its probability, and independence of how far ahead it is drawn."""

import pytest
import torch

from ml.dropout import Dropout, Dropped, factors, factors_ahead


@pytest.mark.parametrize("p", [0.001, 0.2, 0.5, 0.9])
def test_dropout_has_its_rate_and_preserves_sums(p: float) -> None:
    torch.manual_seed(0)
    drawn = factors(torch.Size((1000, 1000)), p)
    # Five standard deviations of a count of a million.
    assert (drawn == 0).float().mean().item() == pytest.approx(p, abs=5e-3 * (p * (1 - p)) ** 0.5)
    assert drawn.mean().item() == pytest.approx(1, abs=5e-3 * (p / (1 - p)) ** 0.5)


def test_masks_drawn_ahead_match_masks_drawn_one_by_one() -> None:
    # Sizes that do not fill their last random word.
    layers = [Dropped(torch.Size((3, 7)), 0.3), Dropped(torch.Size((3, 2)), 0.6)]
    torch.manual_seed(1)
    expected = [[factors(layer.shape, layer.p) for layer in layers] for _ in range(4)]
    torch.manual_seed(1)
    ahead = factors_ahead(layers, 4)
    assert [list(mask.shape) for mask in ahead] == [[4, 3, 7], [4, 3, 2]]
    for step, both in enumerate(expected):
        assert all(torch.equal(mask[step], like) for mask, like in zip(ahead, both, strict=True))


def test_dropout_is_inactive_outside_training() -> None:
    rows = torch.ones(4, 4)
    assert torch.equal(Dropout(0.5).eval()(rows), rows)
    assert not torch.equal(Dropout(0.5)(rows), rows)
