"""An update by the kernel alone is the optimizer's own, to the bit."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from ml.optimizers import AdamSpec, AdamWSpec, SGDSpec
from ml.updates import Direct

CPU = torch.device("cpu")
SPECS: list[Any] = [
    AdamSpec(lr=0.01),
    AdamSpec(lr=0.01, weight_decay=0.1, beta1=0.8),
    AdamWSpec(lr=0.01),
    SGDSpec(lr=0.1),
    SGDSpec(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def give_gradients(model: nn.Module, step: int) -> None:
    random = torch.Generator().manual_seed(step)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=random)


@pytest.mark.parametrize("spec", SPECS, ids=repr)
def test_it_steps_as_the_optimizer_does(spec: Any) -> None:
    one, other = network(), network()
    own, optimizer = (spec.build(model.parameters(), CPU) for model in (one, other))
    direct = Direct(optimizer)
    for step in range(6):
        for model in (one, other):
            give_gradients(model, step)
        for group in (*own.param_groups, *optimizer.param_groups):
            group["lr"] = 0.1 / (1 + step)
        own.step()
        direct()
        assert all(map(torch.equal, one.parameters(), other.parameters()))
    states = own.state_dict()["state"], optimizer.state_dict()["state"]
    for mine, like in zip(*(state.values() for state in states), strict=True):
        assert mine.keys() == like.keys()
        assert all(torch.equal(mine[key], like[key]) for key in mine)


@pytest.mark.parametrize("spec", SPECS, ids=repr)
def test_it_goes_on_from_a_state_that_is_loaded(spec: Any) -> None:
    model = network()
    optimizer = spec.build(model.parameters(), CPU)
    direct = Direct(optimizer)

    def steps(first: int, last: int) -> list[torch.Tensor]:
        for step in range(first, last):
            give_gradients(model, step)
            direct()
        return [parameter.detach().clone() for parameter in model.parameters()]

    steps(0, 3)
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    expected = steps(3, 6)
    steps(6, 9)
    model.load_state_dict(before[0])
    optimizer.load_state_dict(before[1])
    assert all(map(torch.equal, steps(3, 6), expected))
