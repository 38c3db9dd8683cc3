"""Optimizer updates of many models at once: each row of a tensor holds one model's weights,
gradients or optimizer state, and each model has its own hyperparameters.

The stacked updates need as many operations for many models as for one, and can be captured.
`RowUpdate` updates each model by `FusedUpdate`, which is faster on a CPU.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ml.optimizers import AdamSpec, AdamWSpec, RMSpropSpec, SGDSpec
from ml.specs import TrainingSpec
from ml.training.engines.fused_update import FusedUpdate


class Update(Protocol):
    """Updates the weights `(models, numbers)` in place by gradients of that shape, which it may
    overwrite."""

    state: list[Tensor]
    """Optimizer state, without the figures of each step."""

    def figures(self, rates: Tensor, done: int) -> Tensor:
        """Return the figures `(steps, ...)` of the steps after the first `done`, on the CPU.

        `rates` are the learning rates of each step and model, `(steps, models)` float64.
        """

    def __call__(self, figures: Tensor) -> None:
        """Execute one step with its figures, which lie on the device of the weights."""


class StackedAdam:
    """Adam or AdamW (Kingma & Ba 2015, Loshchilov & Hutter 2019)."""

    def __init__(self, specs: Sequence[AdamSpec], weights: Tensor, gradients: Tensor) -> None:
        self._specs, self._weights, self._gradients = specs, weights, gradients
        self._mean, self._square = self.state = [torch.zeros_like(weights) for _ in range(2)]
        self._gain1 = _column([1 - spec.beta1 for spec in specs], weights)
        self._beta2 = _column([spec.beta2 for spec in specs], weights)
        self._gain2 = _column([1 - spec.beta2 for spec in specs], weights)
        self._decay = _column([spec.weight_decay for spec in specs], weights)
        self._has_decay = any(spec.weight_decay for spec in specs)
        self._is_decoupled = isinstance(specs[0], AdamWSpec)

    def figures(self, rates: Tensor, done: int) -> Tensor:
        """Return step size, epsilon and the factor of the decoupled weight decay, `(steps, 3,
        models, 1)`."""
        columns = [[spec.beta1, spec.beta2, spec.eps, spec.weight_decay] for spec in self._specs]
        beta1, beta2, eps, decay = torch.tensor(columns, dtype=torch.float64).unbind(1)
        step = torch.arange(done + 1, done + 1 + len(rates), dtype=torch.float64).unsqueeze(1)
        # sqrt(square) / root + eps is (sqrt(square) + eps * root) / root.
        root = (1 - beta2**step).sqrt()
        size = -rates * root / (1 - beta1**step)
        return torch.stack([size, eps * root, 1 - rates * decay], 1).unsqueeze(3).float()

    def __call__(self, figures: Tensor) -> None:
        """Execute one step."""
        size, eps, left = figures
        if self._has_decay and self._is_decoupled:
            self._weights.mul_(left)
        elif self._has_decay:
            self._gradients.addcmul_(self._weights, self._decay)
        self._mean.lerp_(self._gradients, self._gain1)
        self._square.mul_(self._beta2).addcmul_(self._gradients * self._gain2, self._gradients)
        self._weights.addcdiv_(self._mean * size, self._square.sqrt().add_(eps))


class StackedSGD:
    """Stochastic gradient descent, with momentum if any model has it."""

    def __init__(self, specs: Sequence[SGDSpec], weights: Tensor, gradients: Tensor) -> None:
        self._weights, self._gradients = weights, gradients
        self.state = [torch.zeros_like(weights)] if any(spec.momentum for spec in specs) else []
        self._momentum = _column([spec.momentum for spec in specs], weights)
        # Shares of the gradient and of the momentum buffer in a step.
        of_both = [(1.0, spec.momentum) if spec.nesterov else (0.0, 1.0) for spec in specs]
        self._of_gradient, self._of_buffer = (
            _column(list(shares), weights) for shares in zip(*of_both, strict=True)
        )
        self._decay = _column([spec.weight_decay for spec in specs], weights)
        self._has_decay = any(spec.weight_decay for spec in specs)

    def figures(self, rates: Tensor, done: int) -> Tensor:
        """Return the step size, `(steps, 1, models, 1)`."""
        return -rates[:, None, :, None].float()

    def __call__(self, figures: Tensor) -> None:
        """Execute one step."""
        [size] = figures
        if self._has_decay:
            self._gradients.addcmul_(self._weights, self._decay)
        for buffer in self.state:
            buffer.mul_(self._momentum).add_(self._gradients)
            self._gradients.mul_(self._of_gradient).addcmul_(buffer, self._of_buffer)
        self._weights.addcmul_(self._gradients, size)


class StackedRMSprop:
    """RMSprop (Hinton 2012), with momentum if any model has it."""

    def __init__(self, specs: Sequence[RMSpropSpec], weights: Tensor, gradients: Tensor) -> None:
        self._weights, self._gradients = weights, gradients
        has_momentum = any(spec.momentum for spec in specs)
        self._square, *self._buffers = self.state = [
            torch.zeros_like(weights) for _ in range(2 if has_momentum else 1)
        ]
        self._alpha = _column([spec.alpha for spec in specs], weights)
        self._gain = _column([1 - spec.alpha for spec in specs], weights)
        self._eps = _column([spec.eps for spec in specs], weights)
        self._momentum = _column([spec.momentum for spec in specs], weights)
        self._decay = _column([spec.weight_decay for spec in specs], weights)
        self._has_decay = any(spec.weight_decay for spec in specs)

    def figures(self, rates: Tensor, done: int) -> Tensor:
        """Return the step size, `(steps, 1, models, 1)`."""
        return -rates[:, None, :, None].float()

    def __call__(self, figures: Tensor) -> None:
        """Execute one step."""
        [size] = figures
        if self._has_decay:
            self._gradients.addcmul_(self._weights, self._decay)
        self._square.mul_(self._alpha).addcmul_(self._gradients * self._gain, self._gradients)
        change = self._gradients.div_(self._square.sqrt().add_(self._eps))
        for buffer in self._buffers:
            change = buffer.mul_(self._momentum).add_(change)
        self._weights.addcmul_(change, size)


STACKED: dict[str, Callable[[Any, Tensor, Tensor], Update]] = {
    "adam": StackedAdam,
    "adamw": StackedAdam,
    "sgd": StackedSGD,
    "rmsprop": StackedRMSprop,
}


def stacked(specs: Sequence[TrainingSpec], weights: Tensor, gradients: Tensor) -> Update:
    """Return the stacked update of models whose optimizers are of one kind."""
    optimizers = [spec.optimizer for spec in specs]
    return STACKED[optimizers[0].kind](optimizers, weights, gradients)


class RowUpdate:
    """Any optimizer, by one call of its fused kernel for all models with the same figures."""

    def __init__(self, specs: Sequence[TrainingSpec], weights: Tensor, gradients: Tensor) -> None:
        self.state: list[Tensor] = []  # this update is never captured
        rows = [nn.Parameter(row) for row in weights]
        for row, gradient in zip(rows, gradients, strict=True):
            row.grad = gradient
        self._groups = []
        for same in alike(specs):
            optimizer = specs[same[0]].optimizer.build([rows[i] for i in same])
            self._groups.append((same[0], FusedUpdate(optimizer)))

    def figures(self, rates: Tensor, done: int) -> Tensor:
        """Return the learning rates, `(steps, models)`."""
        return rates

    def __call__(self, figures: Tensor) -> None:
        """Execute one step."""
        for first, update in self._groups:
            update(figures[first].item())


def alike(specs: Sequence[TrainingSpec]) -> list[list[int]]:
    """Group the indices of specs with equal optimizer and schedule."""
    groups: dict[tuple[str, str], list[int]] = {}
    for number, spec in enumerate(specs):
        key = spec.optimizer.model_dump_json(), spec.schedule.model_dump_json()
        groups.setdefault(key, []).append(number)
    return list(groups.values())


class Clipping:
    """Clips each model's gradients `(models, numbers)` to the maximum norm of its spec."""

    def __init__(self, specs: Sequence[TrainingSpec], gradients: Tensor) -> None:
        limits = [spec.clip_grad_norm for spec in specs]
        self._gradients = gradients
        self._has_limit = any(limits)
        self._limits = _column([limit or torch.inf for limit in limits], gradients)
        self._one = gradients.new_ones(())

    def __call__(self) -> None:
        """Clip the gradients in place."""
        if self._has_limit:
            norms = torch.linalg.vector_norm(self._gradients, dim=1, keepdim=True)
            # fmin ignores the NaN of infinity over infinity, which arises without a limit.
            self._gradients.mul_(torch.fmin(self._limits / (norms + 1e-6), self._one))


def _column(figures: list[float], like: Tensor) -> Tensor:
    return torch.tensor(figures, device=like.device).unsqueeze(1)
