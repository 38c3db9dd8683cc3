"""Dropout that costs a few random bits per number."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

STEPS = 1 << 16
"""The probability is rounded to a multiple of 1/65536."""
PER_WORD = 4
"""Numbers that share a random word of 64 bits."""


class Dropout(nn.Dropout):
    """As torch's, but on the CPU it draws 16 random bits per number instead of a whole one, which
    takes a third of the time."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return `inputs`, in training with some set to 0 and the others scaled up."""
        if not self.training or inputs.device.type != "cpu":
            return super().forward(inputs)
        return inputs * factors(inputs.shape, self.p)


class Dropped(NamedTuple):
    """What a layer drops at each step."""

    shape: torch.Size
    p: float


def factors(shape: torch.Size, p: float, generator: Generator | None = None) -> Tensor:
    """Return what numbers of `shape` are multiplied by: 0, with probability `p`, or so much that
    their sum stays what it was."""
    return factors_ahead([Dropped(shape, p)], 1, generator)[0][0]


def factors_ahead(
    layers: Sequence[Dropped], steps: int, generator: Generator | None = None
) -> list[Tensor]:
    """Return for each layer the factors `(steps, *shape)` of so many steps, those which `factors`
    would return if it were called step by step, and in each layer by layer."""
    lengths = [-(-layer.shape.numel() // PER_WORD) for layer in layers]
    # Without a lowest number the highest bit would always be 0.
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
