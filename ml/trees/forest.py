"""Boosted trees as tensors."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

MAX_LEAVES = 15
"""Maximum number of leaves of a tree: as many as an int16 has bits beside the sign."""
FIRST_LEAF = 1 << (MAX_LEAVES - 1)
EVERY_LEAF = (1 << MAX_LEAVES) - 1
COMPARED_ON_CPU, COMPARED_ON_GPU = 1 << 18, 1 << 25
"""Number of comparisons at a time; on a CPU, their results fit its cache."""


class Tree(NamedTuple):
    """A tree of at most `MAX_LEAVES` leaves, which have a bit each: the leftmost the highest."""

    features: list[int]
    """Index of the input that each split compares."""
    thresholds: list[float]
    """A row goes to the left of a split unless its input is greater."""
    masks: list[int]
    """`EVERY_LEAF` without the bits of the leaves to the left of each split."""
    leaves: list[float]
    """Value of each leaf, from left to right."""


class Forest(nn.Module):
    """A base for each output, to which trees add.

    Input `(batch, columns)` float32 without NaN, output `(batch, outputs)` float32: values, or
    logits of two or more classes. The trees are of the outputs in turn; those of two classes are
    all of the second. There are none at first: they come with `of`, or with a loaded state.

    Rows do not descend from the root: all splits are compared at once. Each whose right side a row
    is on rules out the leaves to its left, and of those that remain, the row's is the leftmost:
    QuickScorer, Lucchese et al. 2015, section 3.
    """

    features: Tensor
    thresholds: Tensor
    masks: Tensor
    leaves: Tensor
    base: Tensor

    def __init__(self, outputs: int, is_binary: bool = False) -> None:
        """`is_binary` says whether the outputs are the logits of two classes."""
        super().__init__()
        self._is_binary = is_binary
        self.register_buffer("features", torch.empty((1, 0), dtype=torch.int32))
        self.register_buffer("thresholds", torch.empty((1, 0)))
        self.register_buffer("masks", torch.empty((1, 0), dtype=torch.int16))
        self.register_buffer("leaves", torch.empty((MAX_LEAVES, 0)))
        self.register_buffer("base", torch.zeros(outputs))

    @classmethod
    def of(cls, trees: Sequence[Tree], base: Tensor, is_binary: bool = False) -> "Forest":
        """Return the forest of `trees` and `base` `(outputs,)`."""
        forest = cls(len(base), is_binary)
        splits = max((len(tree.features) for tree in trees), default=0) or 1
        forest.features = _columns([tree.features for tree in trees], splits, 0).int()
        # A split that a tree lacks sends every row to the left. All of a state is finite.
        never = torch.finfo(torch.float32).max
        thresholds = _columns([tree.thresholds for tree in trees], splits, never)
        forest.thresholds = _rounded_down(thresholds)
        forest.masks = _columns([tree.masks for tree in trees], splits, EVERY_LEAF).short()
        leaves = _columns([tree.leaves for tree in trees], MAX_LEAVES, 0).float()
        forest.leaves = leaves.flip(0)  # as their bits are
        forest.base = base.float()
        return forest

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        compared = COMPARED_ON_GPU if inputs.is_cuda else COMPARED_ON_CPU
        rows = max(1, compared // max(1, self.features.numel()))
        if len(inputs) <= rows:
            return self._outputs(inputs)
        return torch.cat([self._outputs(part) for part in torch.split(inputs, rows)])

    def _outputs(self, inputs: Tensor) -> Tensor:
        values = self.leaves.gather(0, self._leaf(inputs))
        if self._is_binary:
            return self.base + nn.functional.pad(values.sum(1, keepdim=True), (1, 0))
        turns = values.shape[1] // len(self.base)
        return values.view(len(inputs), turns, len(self.base)).sum(1) + self.base

    def _leaf(self, inputs: Tensor) -> Tensor:
        """Return the index of each row's leaf of each tree, `(batch, trees)` int64."""
        compared = inputs.index_select(1, self.features.flatten())
        goes_left = compared.view(len(inputs), *self.features.shape) <= self.thresholds
        remaining = goes_left.to(torch.int16).mul_(EVERY_LEAF).bitwise_or_(self.masks)
        while (count := remaining.shape[1]) > 1:
            rest = count - count // 2
            remaining[:, : count - rest] &= remaining[:, rest:]
            remaining = remaining[:, :rest]
        _, exponents = torch.frexp(remaining.squeeze(1).float())  # from 1, of the highest bit
        return exponents.long().sub_(1)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        for name, buffer in self.named_buffers():
            saved = state_dict.get(prefix + name)
            if saved is not None and name != "base":
                setattr(self, name, buffer.new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def extra_repr(self) -> str:
        """Return the numbers of trees and outputs."""
        return f"{self.leaves.shape[1]} trees, {len(self.base)} outputs"


def _columns(lists: Sequence[Sequence[float]], height: int, pad: float) -> Tensor:
    """Return lists of at most `height` numbers as the columns of a float64 matrix."""
    padded = [[*numbers, *[pad] * (height - len(numbers))] for numbers in lists]
    return torch.tensor(padded, dtype=torch.float64).reshape(-1, height).T.contiguous()


def _rounded_down(numbers: Tensor) -> Tensor:
    """Return the greatest float32 numbers that are not greater than `numbers`, float64: the same
    float32 inputs exceed them."""
    rounded = numbers.float()
    below = rounded.nextafter(torch.tensor(-torch.inf, dtype=rounded.dtype))
    return torch.where(rounded > numbers, below, rounded)
