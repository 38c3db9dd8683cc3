"""Dropout that draws 16 random bits per element."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

STEPS = 1 << 16
"""The probability is rounded to a multiple of 1/65536."""
HIGHEST = 0.999
"""Highest probability of a spec: a thousandth of the units is left, scaled up a thousandfold."""
PER_WORD = 4
"""Elements that share a random 64-bit word."""


class Dropout(nn.Dropout):
    """`nn.Dropout`, but on the CPU it draws 16 random bits per element, which takes a third of the
    time."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return `inputs`; in training, some elements are set to 0 and the others scaled up."""
        if not self.training or inputs.device.type != "cpu":
            return super().forward(inputs)
        return inputs * factors(inputs.shape, self.p)


class Dropped(NamedTuple):
    """Shape and probability of one layer's dropout."""

    shape: torch.Size
    p: float


def factors(shape: torch.Size, p: float, generator: Generator | None = None) -> Tensor:
    """Return dropout factors of `shape`: 0 with probability `p`, else `1 / (1 - p)`."""
    return factors_ahead([Dropped(shape, p)], 1, generator)[0][0]


def factors_ahead(
    layers: Sequence[Dropped], steps: int, generator: Generator | None = None
) -> list[Tensor]:
    """Return the factors `(steps, *shape)` of each layer for several steps, equal to those of
    calling `factors` for each step and, within it, for each layer."""
    lengths = [-(-layer.shape.numel() // PER_WORD) for layer in layers]
    # Without an explicit minimum the highest bit would always be 0.
    words = torch.empty((steps, sum(lengths)), dtype=torch.int64)
    words.random_(torch.iinfo(torch.int64).min, None, generator=generator)
    return [
        _factors(layer_words, layer)
        for layer_words, layer in zip(torch.split(words, lengths, 1), layers, strict=True)
    ]


def _factors(words: Tensor, layer: Dropped) -> Tensor:
    shape = (len(words), *layer.shape)
    bits = words.view(torch.int16)[:, : layer.shape.numel()].view(shape)
    dropped = round(layer.p * STEPS)
    is_kept = torch.empty(shape)
    torch.ge(bits, dropped - STEPS // 2, out=is_kept)
    return is_kept.mul_(STEPS / (STEPS - dropped))
