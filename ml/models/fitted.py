"""Networks with parts that are fitted to rows at once, beside those that are trained by steps."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from ml.models.linear_fits import Affine

MAX_ROWS = 100_000
MAX_VALUES = 50_000_000
"""Bounds on the encoded rows, and on their numbers, that a network is fitted to."""


class EncodedRows(NamedTuple):
    """Rows as a network sees them."""

    inputs: Tensor
    """`(rows, width)` float32."""
    targets: Tensor
    """`(rows, size)` float32 values on the network's scale, or `(rows,)` int64 class indices."""


class FittedNetwork(nn.Module, ABC):
    """A network that is shown rows before and after its training.

    What it learns from them are buffers, so that its state is complete, and no random number is
    drawn. Rows are at most `MAX_ROWS` of a split, evenly spaced.
    """

    @abstractmethod
    def fit_to(
        self,
        train: EncodedRows,
        validation: EncodedRows | None,
        class_weights: Tensor | None = None,
    ) -> None:
        """Fit parts of the network, which is on the CPU, before the first step.

        `class_weights` `(classes,)` are what a row of each class counts in the loss of the steps;
        without them, all count the same.
        """

    def settle(self, validation: EncodedRows | None) -> None:
        """Complete the trained network, which is in evaluation mode; the rows are on its device,
        and are those that it was fitted to."""

    def affine(self) -> Affine | None:
        """Return the network as a linear model, float64; None if it is none."""
        return None


def most_rows(width: int) -> int:
    """Return the number of rows of `width` numbers that a network is fitted to at most."""
    return max(1, min(MAX_ROWS, MAX_VALUES // max(1, width)))
