"""Optimizers' updates on a CPU by their fused kernels alone.

`optimizer.step()` finds out at each step what there is to do. For a small network that takes half
as long as doing it, so here it is found out once.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer

Update = Callable[[], None]


class Direct:
    """Does what `step()` of an optimizer of ours does, on the same state.

    The first call is the optimizer's own, which makes its state; so is the next after another state
    was loaded.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._updates: list[Update] = []
        optimizer.register_load_state_dict_post_hook(lambda _: self._updates.clear())

    def __call__(self) -> None:
        """Change the parameters along their gradients."""
        if self._updates:
            for update in self._updates:
                update()
            return
        self._optimizer.step()
        kernel = KERNELS[type(self._optimizer)]
        self._updates = [kernel(self._optimizer, group) for group in self._optimizer.param_groups]


def _adam(optimizer: Optimizer, group: dict[str, Any]) -> Update:
    parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
    weights = [parameter.detach() for parameter in parameters]
    states = [optimizer.state[parameter] for parameter in parameters]
    means = [state["exp_avg"] for state in states]
    squares = [state["exp_avg_sq"] for state in states]
    # Counted in one tensor, since one operation for each costs as much as the update of a layer.
    step = torch.stack([state["step"] for state in states])
    steps = list(step.unbind())
    for state, own in zip(states, steps, strict=True):
        state["step"] = own
    fused = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
    beta1, beta2 = group["betas"]

    def update() -> None:
        step.add_(1)
        fused(
            weights,
            [parameter.grad for parameter in parameters],
            means,
            squares,
            [],
            steps,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    return update


def _sgd(optimizer: Optimizer, group: dict[str, Any]) -> Update:
    parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
    weights = [parameter.detach() for parameter in parameters]
    has_momentum = bool(group["momentum"])
    momenta = [optimizer.state[p]["momentum_buffer"] for p in parameters] if has_momentum else []

    def update() -> None:
        torch._fused_sgd_(
            weights,
            [parameter.grad for parameter in parameters],
            momenta,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=0.0,
            nesterov=group["nesterov"],
            maximize=False,
            is_first_step=False,
        )

    return update


KERNELS: dict[type[Optimizer], Callable[[Optimizer, dict[str, Any]], Update]] = {
    Adam: _adam,
    AdamW: _adam,
    SGD: _sgd,
}
