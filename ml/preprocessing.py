"""Layers fitted on the training split and saved with the model, so that it takes raw values."""

import torch
from torch import Tensor, nn


class Standardize(nn.Module):
    """`(x / unit - mean) / std`, whatever number type `x` comes in.

    `mean` and `std` have shape `()` (one for all inputs) or that of one input; `unit` is the raw
    value that stands for 1 (255 for pixels of one byte). Input `(batch, ...)`, output float32 of
    the same shape.
    """

    mean: Tensor
    std: Tensor
    unit: Tensor

    def __init__(self, mean: Tensor, std: Tensor, unit: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("mean", mean.to(torch.float32))
        self.register_buffer("std", std.to(torch.float32))
        self.register_buffer("unit", torch.tensor(unit, dtype=torch.float32))

    @classmethod
    def blank(cls, shape: torch.Size) -> "Standardize":
        """Return a layer that changes nothing, to be filled from a saved state."""
        return cls(torch.zeros(shape), torch.ones(shape))

    @classmethod
    def fit(cls, inputs: Tensor) -> "Standardize":
        """Return the layer that gives each column of `inputs` (rows, columns) mean 0 and std 1."""
        std = inputs.std(dim=0, correction=0)
        # A constant column carries nothing: it becomes 0, not 0/0.
        return cls(inputs.mean(dim=0), torch.where(std > 0, std, torch.ones_like(std)))

    def forward(self, raw: Tensor) -> Tensor:
        """Return the standardised batch."""
        # The difference first, or numbers far from 0 would lose their last digits; and in place,
        # in a tensor that is nobody's but ours.
        return raw.to(torch.float32, copy=True).sub_(self.offset()).mul_(self.factor())

    def offset(self) -> Tensor:
        """Return what is subtracted from raw inputs ..."""
        return self.mean * self.unit

    def factor(self) -> Tensor:
        """... and what the difference is multiplied by."""
        return 1 / (self.std * self.unit)

    def extra_repr(self) -> str:
        """Show the figures where they are few."""
        if self.mean.numel() > 8:
            return f"{self.mean.numel()} columns"
        return f"mean={_rounded(self.mean)}, std={_rounded(self.std)}, unit={self.unit.item():g}"


def _rounded(tensor: Tensor) -> str:
    numbers = [f"{number:.4g}" for number in tensor.flatten().tolist()]
    return numbers[0] if tensor.dim() == 0 else f"[{', '.join(numbers)}]"
