"""Histograms have round edges, also of few values."""

import pytest
import torch

from ml.evaluation.histogram import histogram, round_edges


def test_edges_are_round_and_zero_is_one() -> None:
    values = torch.tensor([-4.2, -3.1, -0.1, 0.1, 0.2, 1.0, 2.2, 3.3, 4.4, 5.0, 5.1, 6.9]).double()
    found = histogram(values)
    assert found is not None
    assert found.edges == [-5, 0, 5, 10]
    assert found.counts == [3, 6, 3]


@pytest.mark.parametrize(
    ("low", "high", "bars", "edges"),
    [
        (0.05, 0.31, 3, [0.0, 0.1, 0.2, 0.3, 0.4]),
        (7, 7, 1, [3.5, 10.5]),
        (0, 0, 1, [-0.5, 0.5]),
        (-2e9, 1e9, 2, [-2e9, 0, 2e9]),
    ],
)
def test_edges(low: float, high: float, bars: int, edges: list[float]) -> None:
    assert round_edges(low, high, bars) == edges


@pytest.mark.parametrize(
    ("low", "high"),
    [(1e15, 1e15 + 0.5), (0, 5e-324), (-1.6e308, 1e307), (1, 1 + 1e-15), (-1e-310, 1e-310)],
)
@pytest.mark.parametrize("bars", [1, 4, 30])
def test_edges_cover_every_range(low: float, high: float, bars: int) -> None:
    edges = round_edges(low, high, bars)
    assert edges[0] <= low < high <= edges[-1]
    assert edges == sorted(edges)
    assert len(edges) <= bars + 2


def test_no_histogram_of_values_that_are_not_finite() -> None:
    assert histogram(torch.tensor([1.0, float("inf")]).double()) is None
