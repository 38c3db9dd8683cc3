"""A blend is the weighted mean of its members, and never worse than the best of them."""

import pytest
import torch
from torch import Tensor, nn

from ml.models import AutoSpec, EncodedRows, TabMSpec
from ml.models.blend import Blend
from ml.models.linear_fits import logistic
from ml.signature import Classes, Features, Signature, Value, Values, regression

RANDOM = torch.Generator().manual_seed(0)
TINY = TabMSpec(members=2, hidden=[8], bins=4, embedding=2, dropout=0.0)
SPEC = AutoSpec(beside=["linear"], tabm=TINY)
INPUTS = torch.randn(300, 2, generator=RANDOM)
VALUES = INPUTS @ torch.tensor([[2.0], [-1.0]]) + 0.3
CLASSES = (VALUES.squeeze(1) > 0).long() + (VALUES.squeeze(1) > 2).long()
OF_VALUES = Signature(inputs=Features(names=["a", "b"]), output=Value(name="y"))
OF_CLASSES = Signature(inputs=OF_VALUES.inputs, output=Classes(names=["x", "y", "z"]))


def blend(signature: Signature, targets: Tensor, is_watched: bool = True) -> Blend:
    torch.manual_seed(0)
    built = SPEC.build(signature)
    validation = EncodedRows(INPUTS[200:], targets[200:]) if is_watched else None
    built.fit_to(EncodedRows(INPUTS[:200], targets[:200]), validation)
    return built.eval()


def members(net: Blend) -> list[nn.Module]:
    return [*net.partners.values(), net.tabm]


def held_out(targets: Tensor) -> EncodedRows:
    return EncodedRows(INPUTS[200:], targets[200:])


def test_untrained_blend_is_tabm() -> None:
    net = blend(OF_VALUES, VALUES)
    net.low.fill_(-torch.inf)
    assert torch.equal(net(INPUTS), net.tabm(INPUTS))
    assert net.train()(INPUTS).shape == (300, 2, 1)


def test_values_are_mixed_by_their_shares() -> None:
    net = blend(OF_VALUES, VALUES)
    net.shares.copy_(torch.tensor([0.2, 0.5, 0.3]))
    constant, linear, tabm = (one(INPUTS).clamp(net.low, net.high) for one in members(net))
    assert torch.allclose(net(INPUTS), 0.2 * constant + 0.5 * linear + 0.3 * tabm, atol=1e-6)
    assert net.affine() is None


def test_probabilities_are_mixed_by_their_shares() -> None:
    net = blend(OF_CLASSES, CLASSES)
    net.shares.copy_(torch.tensor([0.2, 0.5, 0.3]))
    constant, linear, tabm = (one(INPUTS).softmax(1) for one in members(net))
    expected = 0.2 * constant + 0.5 * linear + 0.3 * tabm
    assert torch.allclose(net(INPUTS).softmax(1), expected, atol=1e-6)
    assert constant[0].tolist() == pytest.approx((CLASSES.bincount() / 300).tolist(), abs=0.01)


def test_straight_data_leave_a_linear_model() -> None:
    net = blend(OF_VALUES, VALUES)
    net.settle(held_out(VALUES))
    assert net.shares.tolist() == [0, 1, 0]
    affine = net.affine()
    assert affine is not None
    assert affine.weights.flatten().tolist() == pytest.approx([2, -1], abs=1e-4)
    assert affine.bias.item() == pytest.approx(0.3, abs=1e-4)
    assert torch.allclose(affine(INPUTS).float(), net(INPUTS), atol=1e-5)


def test_noise_leaves_next_to_the_mean() -> None:
    noise = torch.randn(300, 1, generator=RANDOM)
    net = blend(OF_VALUES, noise)
    rows = held_out(noise)
    net.settle(rows)

    def error(outputs: Tensor) -> float:
        return (outputs - rows.targets).square().mean().item()

    assert error(net(rows.inputs)) <= error(net.partners["constant"](rows.inputs)) * 1.0001
    affine = net.affine()
    assert affine is not None
    assert affine.weights.abs().max() < 0.2


@pytest.mark.parametrize(("signature", "targets"), [(OF_VALUES, VALUES), (OF_CLASSES, CLASSES)])
def test_without_validation_rows_members_are_weighted_by_cross_validation(
    signature: Signature, targets: Tensor
) -> None:
    net = blend(signature, targets, is_watched=False)
    assert net.shares.tolist() == [0, 1, 0]
    net.settle(None)
    assert net.shares.tolist() == [0, 1, 0]


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_single_rows_are_enough(rows: int) -> None:
    net = SPEC.build(OF_VALUES)
    net.fit_to(EncodedRows(INPUTS[:rows], VALUES[:rows]), None)
    assert net.shares.sum() == pytest.approx(1)
    assert net.eval()(INPUTS).isfinite().all()


def test_values_stay_within_the_range_of_the_targets() -> None:
    net = blend(OF_VALUES, VALUES)
    net.shares.copy_(torch.tensor([0.0, 0.5, 0.5]))
    far = 1000 * INPUTS
    assert net(far).min() >= VALUES.min()
    assert net(far).max() <= VALUES.max()
    net.shares.copy_(torch.tensor([0.1, 0.9, 0.0]))
    assert net(far).max() > 100, "a linear model is one everywhere"


def test_tabm_has_the_share_that_it_deserves() -> None:
    curved = VALUES + 2 * torch.sin(4 * INPUTS[:, :1])
    net = blend(OF_VALUES, curved)
    linear = net.partners["linear"]
    net.tabm.forward = lambda inputs: linear(inputs) + 9  # type: ignore[method-assign]
    net.settle(held_out(curved))
    assert net.shares.tolist() == [0, 1, 0]
    net.tabm.forward = lambda inputs: curved[200:]  # type: ignore[method-assign]
    net.settle(held_out(curved))
    assert net.shares[-1] > 0.9


def test_members_stay_as_near_to_the_trees_as_on_held_out_rows() -> None:
    spec = SPEC.model_copy(update={"beside": ["linear", "trees"]})
    net = spec.build(OF_VALUES)
    net.fit_to(EncodedRows(INPUTS[:200], VALUES[:200]), held_out(VALUES))
    net.eval().settle(held_out(VALUES))
    net.shares.copy_(torch.tensor([0.0, 0.0, 0.5, 0.5]))
    assert net.reach.max() < 100
    trees = net.partners["trees"]
    rows = INPUTS[:5]
    net.tabm.forward = lambda inputs: trees(inputs) + 100  # type: ignore[method-assign]
    net.high.fill_(1000.0)
    assert torch.allclose(net(rows), trees(rows) + 0.5 * net.reach[-1], atol=1e-4)


def test_class_without_rows_has_a_probability() -> None:
    net = blend(OF_CLASSES, CLASSES.clamp(max=1))
    net.settle(EncodedRows(INPUTS[200:], CLASSES[200:]))
    outputs = net(INPUTS)
    assert outputs.isfinite().all()
    assert (outputs.softmax(1)[:, 2] > 0).all()


def test_class_weights_are_those_of_all_members() -> None:
    noisy = (VALUES.squeeze(1) + torch.randn(300, generator=RANDOM) > 2.5).long()
    signature = OF_CLASSES.model_copy(update={"output": Classes(names=["usual", "rare"])})
    train, validation = (EncodedRows(INPUTS[at], noisy[at]) for at in (slice(200), slice(200, 300)))
    weights = 200 / (2 * train.targets.bincount().double())
    torch.manual_seed(0)
    net = SPEC.build(signature)
    net.fit_to(train, validation, weights)
    net.eval()
    counted = weights * noisy.bincount()
    constant = net.partners["constant"](INPUTS).softmax(1)[0]
    assert constant.tolist() == pytest.approx((counted / counted.sum()).tolist(), abs=0.01)
    # So does a regression in which each row of a class counts as often as the weight says.
    times = (weights / weights.min()).round().long()[noisy]
    repeated = (part.repeat_interleave(times, dim=0) for part in (INPUTS, noisy))
    expected = logistic(*repeated, size=2)
    found = net.partners["linear"](INPUTS).softmax(1)[:, 1]
    assert (found - expected(INPUTS).softmax(1)[:, 1]).abs().mean() < 0.05
    net.tabm.forward = lambda inputs: torch.zeros(len(inputs), 2)  # type: ignore[method-assign]
    net.settle(validation)
    assert net.shares.tolist() == [0, 1, 0], "the weighted classes are equally frequent"


def test_weight_of_a_class_without_training_rows_is_harmless() -> None:
    net = SPEC.build(OF_CLASSES)
    train = EncodedRows(INPUTS[:200], CLASSES[:200].clamp(max=1))
    net.fit_to(train, held_out(CLASSES), torch.tensor([0.9, 1.2, 0.0]).double())
    net.eval().settle(held_out(CLASSES))
    assert net(INPUTS).isfinite().all()


def test_state_is_complete() -> None:
    net = blend(OF_CLASSES, CLASSES)
    net.settle(held_out(CLASSES))
    other = AutoSpec.stored(SPEC.model_dump()).build(OF_CLASSES).eval()
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(INPUTS), net(INPUTS))
    assert str(other) == str(net)
    assert "shares: constant " in str(net)


PAIRS = torch.cat([VALUES, 3 - INPUTS[:, :1] * 0.5], 1)
OF_PAIRS = Signature(
    inputs=OF_VALUES.inputs, output=Values(targets=[Value(name="u"), Value(name="v")])
)


def test_several_straight_values_leave_a_linear_model() -> None:
    net = blend(OF_PAIRS, PAIRS)
    net.settle(held_out(PAIRS))
    assert net.shares.tolist() == [0, 1, 0]
    affine = net.affine()
    assert affine is not None
    wanted = torch.tensor([[2, -0.5], [-1, 0]], dtype=torch.float64)
    torch.testing.assert_close(affine.weights, wanted, atol=1e-4, rtol=0)
    assert affine.bias.tolist() == pytest.approx([0.3, 3], abs=1e-4)


def test_several_values_have_the_same_shares_and_ranges_of_their_own() -> None:
    net = blend(OF_PAIRS, PAIRS)
    assert net.low.tolist() == PAIRS.amin(0).tolist()
    assert net.high.tolist() == PAIRS.amax(0).tolist()
    net.shares.copy_(torch.tensor([0.2, 0.5, 0.3]))
    constant, linear, tabm = (one(INPUTS).clamp(net.low, net.high) for one in members(net))
    assert torch.allclose(net(INPUTS), 0.2 * constant + 0.5 * linear + 0.3 * tabm, atol=1e-6)
    assert net.train()(INPUTS).shape == (300, 2, 2)


def test_several_values_with_trees_are_never_worse_than_the_linear_model() -> None:
    curved = torch.cat([(INPUTS[:, :1] > 0).float(), INPUTS[:, 1:] * INPUTS[:, :1]], 1)
    torch.manual_seed(0)
    net = AutoSpec(beside=["linear", "trees"], tabm=TINY).build(OF_PAIRS)
    train = EncodedRows(INPUTS[:200], curved[:200])
    net.fit_to(train, held_out(curved))
    net.eval().settle(held_out(curved))
    rows = held_out(curved)

    def error(outputs: Tensor) -> float:
        return (outputs - rows.targets).square().mean().item()

    assert error(net(rows.inputs)) < 0.5 * error(net.partners["linear"](rows.inputs))


def test_each_value_has_a_reach_of_its_own() -> None:
    torch.manual_seed(0)
    net = AutoSpec(beside=["linear", "trees"], tabm=TINY).build(OF_PAIRS)
    targets = torch.cat([INPUTS[:, :1], 1000 * INPUTS[:, 1:]], 1)
    net.fit_to(EncodedRows(INPUTS[:200], targets[:200]), held_out(targets))
    net.eval().settle(held_out(targets))
    near, far = net.reach[net._names.index("linear")].tolist()
    assert 100 * near < far
    net.shares.copy_(torch.tensor([0.0, 1.0, 0.0, 0.0]) * 0.5 + torch.tensor([0, 0, 0.5, 0]))
    beyond = torch.full((1, 2), 50.0)
    trees = net.partners["trees"](beyond)
    distance = (net(beyond) - trees).abs().squeeze(0)
    assert (distance <= torch.tensor([near, far]) / 2 + 1e-3).all()


@pytest.mark.parametrize("count", [1, 3])
def test_repeated_values_are_no_more_evidence_than_one(count: int) -> None:
    """The linear model is better than the mean, but not by more than chance on these rows."""
    noise = torch.randn(300, 1, generator=torch.Generator().manual_seed(20))
    output = regression([Value(name=f"t{number}") for number in range(count)])
    signature = Signature(inputs=OF_VALUES.inputs, output=output)
    targets = (0.15 * INPUTS[:, :1] + noise).expand(-1, count)
    assert blend(signature, targets, is_watched=False).shares.tolist() == [1, 0, 0]
