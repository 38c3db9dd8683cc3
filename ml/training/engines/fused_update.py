"""Optimizers' updates by their fused kernels alone.

`optimizer.step()` finds out at each step what there is to do. For a small network that takes half
as long as doing it, so here it is found out once. The learning rate comes from outside and may lie
on the device, and an update can be withheld there, so that a CUDA graph needs no look at the loss.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

Kernel = Callable[[float | Tensor, Tensor | None], None]

PIECES = {"cuda": 36, "cpu": 0}
"""Tensors that one launch of a fused Adam kernel takes (torch 2.11; later ones take more). On a CPU
nothing is gained by cutting."""
ALIGNMENT = 64


class FusedUpdate:
    """Does what `step()` of an optimizer of ours does, on the same state, which it makes if need
    be. After another state was loaded a new one is needed."""

    def __init__(self, optimizer: Optimizer, pieces: int | None = None) -> None:
        """`pieces` is into how many to cut all parameters at most, by default what the device
        takes at once."""
        self._optimizer = optimizer
        self._pieces = pieces
        self._kernel: Kernel | None = None

    def __call__(self, rate: float | Tensor, withheld: Tensor | None = None) -> None:
        """Change the parameters that have gradients along them.

        `rate` may be a tensor `()`, float32 on a GPU. Where `withheld`, a float32 tensor `()`, is 1
        the kernel leaves parameters and state as they are, but for the count of steps.
        """
        if self._kernel is None:
            self._kernel = KERNELS[type(self._optimizer)](self._optimizer, self._pieces)
        self._kernel(rate, withheld)


def _adam(optimizer: Optimizer, pieces: int | None) -> Kernel:
    group, parameters = _learning(optimizer)
    for parameter in parameters:
        if not (state := optimizer.state[parameter]):
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
    states = [optimizer.state[parameter] for parameter in parameters]
    # One count for all, since one operation for each costs as much as the update of a layer.
    step = states[0]["step"].clone()
    for state in states:
        state["step"] = step
    cut = _cutter(parameters, pieces)
    weights = cut([parameter.detach() for parameter in parameters])
    means, squares = (cut([state[name] for state in states]) for name in ("exp_avg", "exp_avg_sq"))
    steps = [step] * len(weights)
    fused = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
    beta1, beta2 = group["betas"]

    def update(rate: float | Tensor, withheld: Tensor | None) -> None:
        step.add_(1)
        fused(
            weights,
            cut([parameter.grad for parameter in parameters]),
            means,
            squares,
            [],
            steps,
            lr=rate,
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
            found_inf=withheld,
        )

    return update


def _sgd(optimizer: Optimizer, pieces: int | None) -> Kernel:
    group, parameters = _learning(optimizer)
    momenta = []
    if group["momentum"]:
        for parameter in parameters:
            if not (state := optimizer.state[parameter]):
                # The first step from zeros is the one that torch makes a case of its own.
                state["momentum_buffer"] = torch.zeros_like(
                    parameter, memory_format=torch.preserve_format
                )
            momenta.append(optimizer.state[parameter]["momentum_buffer"])
    cut = _cutter(parameters, pieces)
    weights, momenta = cut([parameter.detach() for parameter in parameters]), cut(momenta)

    def update(rate: float | Tensor, withheld: Tensor | None) -> None:
        torch._fused_sgd_(
            weights,
            cut([parameter.grad for parameter in parameters]),
            momenta,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=rate,
            dampening=0.0,
            nesterov=group["nesterov"],
            maximize=False,
            is_first_step=False,
            found_inf=withheld,
        )

    return update


KERNELS: dict[type[Optimizer], Callable[[Optimizer, int | None], Kernel]] = {
    Adam: _adam,
    AdamW: _adam,
    SGD: _sgd,
}


def _learning(optimizer: Optimizer) -> tuple[dict[str, Any], list[Tensor]]:
    [group] = optimizer.param_groups
    return group, [parameter for parameter in group["params"] if parameter.grad is not None]


def _cutter(
    parameters: Sequence[Tensor], pieces: int | None
) -> Callable[[Sequence[Any]], list[Tensor]]:
    """Return what cuts tensors laid out like `parameters` into pieces of similar size.

    A GPU updates 65,536 numbers of a tensor in one block, so that a layer of 400,000 keeps 6 of its
    132 processors busy; as many pieces as one launch takes keep 36 busy.
    """
    if pieces is None:
        pieces = PIECES[parameters[0].device.type]
    if pieces <= len(parameters):
        return list
    size = piece_size([parameter.numel() for parameter in parameters], pieces)

    def cut(tensors: Sequence[Tensor]) -> list[Tensor]:
        # In the order of memory, whatever the strides are.
        return [
            piece
            for tensor in tensors
            for piece in torch.split(tensor.as_strided((tensor.numel(),), (1,)), size)
        ]

    return cut


def piece_size(sizes: Sequence[int], pieces: int) -> int:
    """Return into pieces of how many numbers to cut tensors of `sizes`, of which there are fewer
    than `pieces`, so that there are at most `pieces`."""
    size = -(-sum(sizes) // (pieces - len(sizes)))
    return -(-size // ALIGNMENT) * ALIGNMENT
