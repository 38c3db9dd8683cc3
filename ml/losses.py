"""Losses by name, and the outputs they apply to."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor
from torch.nn import functional

from ml.signature import Signature

LossName = Literal["mse", "mae", "huber", "cross_entropy"]
Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[LossName, Loss] = {
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "huber": functional.huber_loss,
    "cross_entropy": functional.cross_entropy,
}

# The first loss of each output is its default.
LOSSES_FOR: dict[Literal["value", "classes"], tuple[LossName, ...]] = {
    "value": ("mse", "mae", "huber"),
    "classes": ("cross_entropy",),
}


def losses_for(signature: Signature) -> tuple[LossName, ...]:
    """Return the losses that fit the signature's output, the default first."""
    return LOSSES_FOR[signature.output.kind]
