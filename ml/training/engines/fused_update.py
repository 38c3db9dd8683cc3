"""Optimizer updates by direct calls of the fused kernels, and of RMSprop, which has none.

`optimizer.step()` collects its tensors at every step, which for a small network takes half as long
as the update; here they are collected once. The learning rate is an argument and may lie on the
device, and an update can be withheld there, so a CUDA graph need not inspect the loss.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

Tensors = list[Tensor] | tuple[Tensor, ...]
Kernel = Callable[[float | Tensor, Tensor | None], None]

PIECES = {"cuda": 36, "cpu": 0}
"""Tensors per launch of a fused Adam kernel (torch 2.11; later versions take more). On a CPU,
splitting gains nothing."""
ALIGNMENT = 64


class FusedUpdate:
    """Equivalent of `step()` for the optimizers of `ml.optimizers`, on the same state, which it
    creates if absent; the step count of RMSprop, which nothing reads, stays 0. After loading
    another state, create a new instance."""

    def __init__(self, optimizer: Optimizer, pieces: int | None = None) -> None:
        """`pieces` is the maximum number of pieces to split the parameters into, by default the
        device's tensors per launch."""
        self._optimizer = optimizer
        self._pieces = pieces
        self._kernel: Kernel | None = None

    def __call__(self, rate: float | Tensor, withheld: Tensor | None = None) -> None:
        """Update all parameters that have gradients.

        `rate` may be a tensor `()`, float32 on a GPU. If `withheld`, a float32 tensor `()`, is 1,
        the kernel leaves parameters and state unchanged, except for the step count.
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
    # A shared step count: one operation per parameter costs as much as updating a layer.
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
                # Starting from zeros equals torch's special case for the first step.
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


def _rmsprop(optimizer: Optimizer, _pieces: int | None) -> Kernel:
    group, parameters = _learning(optimizer)
    names = ["square_avg", *(["momentum_buffer"] if group["momentum"] else [])]
    for parameter in parameters:
        if not (state := optimizer.state[parameter]):
            state["step"] = torch.zeros(())
            for name in names:
                state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
    weights = [parameter.detach() for parameter in parameters]
    squares, *momenta = (
        [optimizer.state[parameter][name] for parameter in parameters] for name in names
    )
    changing = [*weights, *squares, *(buffer for buffers in momenta for buffer in buffers)]

    def step(rate: float | Tensor) -> None:
        gradients: Tensors = [p.grad for p in parameters if p.grad is not None]
        if group["weight_decay"]:
            gradients = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
        torch._foreach_mul_(squares, group["alpha"])
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["alpha"])
        roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, group["eps"])
        changes: Tensors = torch._foreach_div(gradients, roots)
        for buffers in momenta:
            torch._foreach_mul_(buffers, group["momentum"])
            torch._foreach_add_(buffers, changes)
            changes = torch._foreach_mul(buffers, 1.0)
        torch._foreach_mul_(changes, rate)
        torch._foreach_sub_(weights, changes)

    def update(rate: float | Tensor, withheld: Tensor | None) -> None:
        if withheld is None:
            step(rate)
            return
        before = torch._foreach_mul(changing, 1.0)
        step(rate)
        for tensor, kept in zip(changing, before, strict=True):
            torch.where(withheld > 0, kept, tensor, out=tensor)

    return update


KERNELS: dict[type[Optimizer], Callable[[Optimizer, int | None], Kernel]] = {
    Adam: _adam,
    AdamW: _adam,
    SGD: _sgd,
    RMSprop: _rmsprop,
}


def _learning(optimizer: Optimizer) -> tuple[dict[str, Any], list[Tensor]]:
    [group] = optimizer.param_groups
    return group, [parameter for parameter in group["params"] if parameter.grad is not None]


def _cutter(
    parameters: Sequence[Tensor], pieces: int | None
) -> Callable[[Sequence[Any]], list[Tensor]]:
    """Return a function that splits tensors laid out like `parameters` into pieces of similar size.

    A GPU updates 65,536 elements of a tensor per block, so a layer of 400,000 occupies 6 of 132
    multiprocessors; splitting into as many pieces as one launch takes occupies 36.
    """
    if pieces is None:
        pieces = PIECES[parameters[0].device.type]
    if pieces <= len(parameters):
        return list
    size = piece_size([parameter.numel() for parameter in parameters], pieces)

    def cut(tensors: Sequence[Tensor]) -> list[Tensor]:
        # In memory order, regardless of strides.
        return [
            piece
            for tensor in tensors
            for piece in torch.split(tensor.as_strided((tensor.numel(),), (1,)), size)
        ]

    return cut


def piece_size(sizes: Sequence[int], pieces: int) -> int:
    """Return the number of elements per piece that splits tensors of `sizes`, fewer than `pieces`,
    into at most `pieces` pieces."""
    size = -(-sum(sizes) // (pieces - len(sizes)))
    return -(-size // ALIGNMENT) * ALIGNMENT
