"""Numbers on a normal scale, and their piecewise linear embeddings."""

import pytest
import torch
from torch import Tensor

from ml.models.number_embeddings import PiecewiseLinear, QuantileNormal

RANDOM = torch.Generator().manual_seed(0)
SKEWED = torch.randn(3000, 2, generator=RANDOM).exp() * torch.tensor([1.0, -5.0])


def fitted(inputs: Tensor) -> QuantileNormal:
    layer = QuantileNormal(inputs.shape[1])
    layer.fit(inputs)
    return layer


def test_skewed_numbers_become_normal_in_their_order() -> None:
    normal = fitted(SKEWED)(SKEWED)
    assert normal.shape == SKEWED.shape
    assert normal.mean(0).tolist() == pytest.approx([0, 0], abs=0.02)
    assert normal.std(0).tolist() == pytest.approx([1, 1], abs=0.05)
    ordered = normal.gather(0, SKEWED.argsort(0))
    assert (ordered.diff(dim=0) >= 0).all()


def test_agrees_with_scikit_learn_but_for_the_ends() -> None:
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    other = preprocessing.QuantileTransformer(n_quantiles=256, output_distribution="normal")
    expected = torch.from_numpy(other.fit_transform(SKEWED.numpy()))
    found = fitted(SKEWED)(SKEWED)
    inner = expected.abs() < 2.5
    assert torch.allclose(found[inner], expected[inner].float(), atol=1e-3)


def test_numbers_outside_are_those_at_the_ends() -> None:
    layer = fitted(SKEWED)
    ends = torch.stack([SKEWED.amin(0), SKEWED.amax(0)])
    far = torch.tensor([[-1e30, -1e30], [1e30, 1e30]])
    assert torch.equal(layer(far), layer(ends))
    assert layer(far).isfinite().all()


def test_equal_values_are_in_the_middle_of_their_ranks() -> None:
    inputs = torch.tensor([0.0] * 50 + [1.0] * 50).unsqueeze(1)
    low, high = fitted(inputs)(torch.tensor([[0.0], [1.0]])).flatten().tolist()
    assert low == pytest.approx(-0.674, abs=0.02)
    assert high == pytest.approx(0.674, abs=0.02)
    constant = fitted(torch.full((9, 1), 3.0))
    assert constant(torch.tensor([[3.0]])).item() == pytest.approx(0)


def test_embedding_is_continuous_and_linear_within_a_bin() -> None:
    inputs = torch.linspace(-2, 2, 400).unsqueeze(1)
    layer = PiecewiseLinear(1, 4, 3)
    layer.fit(inputs)
    torch.nn.init.normal_(layer.pieces)
    assert layer.edges.flatten().tolist() == pytest.approx([-2, -1, 0, 1, 2], abs=0.02)
    outputs = layer(torch.linspace(-1.9, -1.1, 9).unsqueeze(1)).squeeze(1)
    slopes = outputs.diff(dim=0)
    assert torch.allclose(slopes, slopes[:1].expand_as(slopes), atol=1e-5)
    steps = layer(inputs).squeeze(1).diff(dim=0)
    assert steps.abs().max() < 0.1


def test_embedding_begins_linear() -> None:
    layer = PiecewiseLinear(2, 8, 5)
    layer.fit(SKEWED)
    inputs = torch.tensor([[0.5, -3.0], [1.5, -9.0]])
    expected = inputs.unsqueeze(2) * layer.slopes + layer.bias
    assert torch.allclose(layer(inputs), expected)


@pytest.mark.parametrize("inputs", [torch.full((40, 2), 7.0), torch.ones(1, 2), SKEWED[:3]])
def test_few_or_equal_values_leave_finite_embeddings(inputs: Tensor) -> None:
    layer = PiecewiseLinear(2, 16, 4)
    layer.fit(inputs)
    torch.nn.init.normal_(layer.pieces)
    assert layer(inputs).isfinite().all()


def test_rows_without_numbers_have_no_embeddings() -> None:
    none = torch.zeros(5, 0)
    assert fitted(none)(none).shape == (5, 0)
    layer = PiecewiseLinear(0, 4, 3)
    layer.fit(none)
    assert layer(none).shape == (5, 0, 3)
