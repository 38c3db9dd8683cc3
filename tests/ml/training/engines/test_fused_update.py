"""Updates by the fused kernel equal those of the optimizer, bit for bit, and those of RMSprop up to
rounding."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import Optimizer

from ml.optimizers import AdamSpec, AdamWSpec, RMSpropSpec, SGDSpec
from ml.training.engines.fused_update import PIECES, FusedUpdate, piece_size

SPECS: list[Any] = [
    AdamSpec(lr=0.01),
    AdamSpec(lr=0.01, weight_decay=0.1, beta1=0.8),
    AdamWSpec(lr=0.01),
    SGDSpec(lr=0.1),
    SGDSpec(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
]

RMSPROP: list[Any] = [
    RMSpropSpec(),
    RMSpropSpec(lr=0.01, alpha=0.5, eps=1e-3, momentum=0.9, weight_decay=0.1),
]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(50, 70), nn.Tanh(), nn.Linear(70, 3))


def give_gradients(model: nn.Module, step: int) -> None:
    random = torch.Generator().manual_seed(step)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=random)


def steps_of_both(
    models: tuple[nn.Module, nn.Module],
    reference: Optimizer,
    optimizer: Optimizer,
    pieces: int | None = None,
) -> Iterator[None]:
    """Yield after each of six steps of two models: by `reference.step()`, and by `FusedUpdate`."""
    update = FusedUpdate(optimizer, pieces)
    for step in range(6):
        rate = 0.1 / (1 + step)
        for model in models:
            give_gradients(model, step)
        reference.param_groups[0]["lr"] = rate
        reference.step()
        update(rate if step % 2 else torch.tensor(rate, dtype=torch.double))
        yield


@pytest.mark.parametrize("pieces", [None, 7, 36])
@pytest.mark.parametrize("spec", SPECS, ids=repr)
def test_fused_update_matches_the_optimizer(spec: Any, pieces: int | None) -> None:
    one, other = network(), network()
    reference, optimizer = (spec.build(model.parameters()) for model in (one, other))
    for _ in steps_of_both((one, other), reference, optimizer, pieces):
        assert all(map(torch.equal, one.parameters(), other.parameters()))
    states = reference.state_dict()["state"], optimizer.state_dict()["state"]
    for expected, found in zip(*(state.values() for state in states), strict=True):
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize("spec", RMSPROP, ids=repr)
def test_update_of_rmsprop_matches_the_optimizer(spec: Any) -> None:
    one, other = network(), network()
    reference, optimizer = (spec.build(model.parameters()) for model in (one, other))
    for _ in steps_of_both((one, other), reference, optimizer):
        for expected, found in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(found, expected)
    states = reference.state_dict()["state"], optimizer.state_dict()["state"]
    for expected, found in zip(*(state.values() for state in states), strict=True):
        assert expected.keys() == found.keys()
        torch.testing.assert_close(found | {"step": None}, dict(expected) | {"step": None})


@pytest.mark.parametrize("spec", [*SPECS, *RMSPROP], ids=repr)
def test_fused_update_continues_from_a_loaded_state(spec: Any) -> None:
    def steps(update: FusedUpdate, model: nn.Module, first: int, last: int) -> None:
        for step in range(first, last):
            give_gradients(model, step)
            update(0.1)

    model, resumed = network(), network()
    optimizer, its_optimizer = (spec.build(m.parameters()) for m in (model, resumed))
    update = FusedUpdate(optimizer)
    steps(update, model, 0, 3)
    resumed.load_state_dict(model.state_dict())
    its_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    steps(update, model, 3, 6)
    steps(FusedUpdate(its_optimizer), resumed, 3, 6)
    assert all(map(torch.equal, resumed.parameters(), model.parameters()))


@pytest.mark.parametrize("spec", [*SPECS, *RMSPROP], ids=repr)
def test_update_can_be_withheld(spec: Any) -> None:
    model = network()
    update = FusedUpdate(spec.build(model.parameters()))
    withheld = torch.zeros(())
    give_gradients(model, 0)
    update(0.1, withheld)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    withheld.fill_(1.0)
    give_gradients(model, 1)
    for parameter in model.parameters():
        parameter.grad.fill_(torch.nan)
    update(0.1, withheld)
    assert all(map(torch.equal, model.parameters(), before))


def test_channels_last_weights_are_split_in_memory_order() -> None:
    spec = AdamSpec(lr=0.01)
    weights = []
    for pieces in (0, 36):
        torch.manual_seed(0)
        layer = nn.Conv2d(8, 24, 3).to(memory_format=torch.channels_last)
        update = FusedUpdate(spec.build(layer.parameters()), pieces)
        for _ in range(3):
            layer.zero_grad()
            layer(torch.ones(2, 8, 5, 5)).square().sum().backward()
            update(0.01)
        weights.append(list(layer.parameters()))
    assert all(map(torch.equal, *weights))


@given(
    sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=35), pieces=st.just(PIECES["cuda"])
)
def test_all_pieces_share_one_launch(sizes: list[int], pieces: int) -> None:
    size = piece_size(sizes, pieces)
    assert sum(-(-n // size) for n in sizes) <= pieces
    assert size % 4 == 0  # kernels read four numbers at a time
