"""Optimizer specs, which build optimizers: with fused kernels where PyTorch has them."""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field, model_validator
from torch.nn import Parameter

from ml.strict import ByKind, Strict

LearningRate = Annotated[float, Field(gt=0, le=1e6)]
Decay = Annotated[float, Field(ge=0, le=1e6)]
Momentum = Annotated[float, Field(ge=0, lt=1)]

LEAST_EPS = 1e-30


def _above_zero_in_float32(eps: float) -> float:
    # If it were 0 there, the update of a gradient of 0 would be 0 / 0.
    if eps < LEAST_EPS:
        raise ValueError(f"must be at least {LEAST_EPS:g}, which float32 tells from 0")
    return eps


Epsilon = Annotated[float, Field(gt=0, le=1), AfterValidator(_above_zero_in_float32)]


class AdamSpec(Strict):
    """Adam (Kingma & Ba 2015); `weight_decay` is an L2 term in the gradient."""

    kind: Literal["adam"] = "adam"
    lr: LearningRate = Field(default=0.001, description="Learning rate.")
    beta1: Momentum = 0.9
    beta2: Momentum = 0.999
    eps: Epsilon = 1e-8
    weight_decay: Decay = 0.0

    algorithm: ClassVar[type[torch.optim.Adam]] = torch.optim.Adam
    state_per_weight: ClassVar[int] = 2
    """Numbers that the optimizer keeps of each weight."""

    def build(self, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of `parameters`."""
        return self.algorithm(
            parameters,
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            weight_decay=self.weight_decay,
            fused=True,
        )


class AdamWSpec(AdamSpec):
    """AdamW (Loshchilov & Hutter 2019): Adam with `weight_decay` decoupled from the gradient."""

    kind: Literal["adamw"] = "adamw"  # type: ignore[assignment]
    weight_decay: Decay = 0.01

    algorithm: ClassVar[type[torch.optim.Adam]] = torch.optim.AdamW


class SGDSpec(Strict):
    """Stochastic gradient descent."""

    kind: Literal["sgd"] = "sgd"
    lr: LearningRate = Field(default=0.01, description="Learning rate.")
    momentum: Momentum = 0.0
    nesterov: bool = False
    weight_decay: Decay = 0.0

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> "SGDSpec":
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    @property
    def state_per_weight(self) -> int:
        """Numbers that the optimizer keeps of each weight."""
        return 1 if self.momentum else 0

    def build(self, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of `parameters`."""
        return torch.optim.SGD(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            fused=True,
        )


class RMSpropSpec(Strict):
    """RMSprop (Hinton 2012): steps divided by the root of a running mean of squared gradients."""

    kind: Literal["rmsprop"] = "rmsprop"
    lr: LearningRate = Field(default=0.01, description="Learning rate.")
    alpha: Momentum = Field(default=0.99, description="Decay of the mean of squared gradients.")
    eps: Epsilon = 1e-8
    momentum: Momentum = 0.0
    weight_decay: Decay = 0.0

    @property
    def state_per_weight(self) -> int:
        """Numbers that the optimizer keeps of each weight."""
        return 2 if self.momentum else 1

    def build(self, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of `parameters`."""
        return torch.optim.RMSprop(
            parameters,
            lr=self.lr,
            alpha=self.alpha,
            eps=self.eps,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
        )


OptimizerSpec = Annotated[AdamSpec | AdamWSpec | SGDSpec | RMSpropSpec, ByKind()]
