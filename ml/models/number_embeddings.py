"""Numbers of a table as inputs of a network: on a normal scale, and embedded piece by piece."""

import torch
from torch import Tensor, nn

QUANTILES = 256
"""Points of a column's distribution."""
ROWS_PER_BIN = 8
"""Training rows that a bin has at least, on average."""


class QuantileNormal(nn.Module):
    """Maps each column to a normal distribution by its rank among the training rows.

    Input and output `(rows, columns)` float32. Values outside the training rows are mapped as the
    outermost of these; equal ones to the middle of their ranks.
    """

    quantiles: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.register_buffer("quantiles", torch.zeros(columns, QUANTILES))

    def fit(self, inputs: Tensor) -> None:
        """Measure the distributions of `inputs` (rows, columns)."""
        at = torch.linspace(0, 1, QUANTILES, dtype=torch.float64) * (len(inputs) - 1)
        low, share = at.floor().long(), (at - at.floor()).float()
        high = (low + 1).clamp(max=len(inputs) - 1)
        for column, found in enumerate(self.quantiles):
            ordered = inputs[:, column].sort().values
            found.copy_(torch.lerp(ordered[low], ordered[high], share))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the numbers on a normal scale."""
        values = inputs.t().contiguous()
        # Of a value that is several quantiles, the first and the last.
        ranks = (self._rank(values, False) + self._rank(values, True)) / (2 * (QUANTILES - 1))
        rare = 0.5 / QUANTILES
        normal: Tensor = torch.special.ndtri(ranks.clamp(rare, 1 - rare)).t()
        return normal

    def _rank(self, values: Tensor, right: bool) -> Tensor:
        """Return the ranks `(columns, rows)`, from 0 to `QUANTILES - 1`, with fractions."""
        high = torch.searchsorted(self.quantiles, values, right=right).clamp_(1, QUANTILES - 1)
        below, above = self.quantiles.gather(1, high - 1), self.quantiles.gather(1, high)
        width = above - below
        share = torch.where(width > 0, (values - below) / width, float(right))
        return high - 1 + share.clamp(0, 1)

    def extra_repr(self) -> str:
        """Return the number of columns."""
        return f"{len(self.quantiles)} numbers"


class PiecewiseLinear(nn.Module):
    """Embeddings of numbers that are continuous and linear between the edges of bins.

    Input `(rows, columns)` float32, output `(rows, columns, size)`. Gorishniy, Rubachev and Babenko
    2022, "On Embeddings for Numerical Features in Tabular Deep Learning", section 3.2: bins are
    quantiles of the training rows. As in TabM (Gorishniy et al. 2025), a linear embedding is added,
    and the weights of the bins begin at 0.
    """

    edges: Tensor

    def __init__(self, columns: int, bins: int, size: int) -> None:
        super().__init__()
        self.register_buffer("edges", torch.zeros(columns, bins + 1))
        bound = size**-0.5
        self.slopes = nn.Parameter(torch.empty(columns, size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(columns, size).uniform_(-bound, bound))
        self.pieces = nn.Parameter(torch.zeros(columns, bins, size))

    def fit(self, inputs: Tensor) -> None:
        """Choose the edges of the bins for `inputs` (rows, columns)."""
        most = self.edges.shape[1] - 1
        bins = max(1, min(most, len(inputs) // ROWS_PER_BIN))
        at = torch.linspace(0, len(inputs) - 1, bins + 1, dtype=torch.float64).round().long()
        for column, edges in enumerate(self.edges):
            found = inputs[:, column].sort().values[at].unique_consecutive()  # type: ignore[no-untyped-call]
            edges.fill_(found[-1])
            edges[: len(found)] = found

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the embeddings."""
        columns = inputs.t().unsqueeze(2)
        low, width = self.edges[:, None, :-1], self.edges.diff().unsqueeze(1)
        # A bin without width is one too many.
        shares = torch.where(width > 0, (columns - low) / width, 0.0).clamp(0, 1)
        embedded = torch.baddbmm(self.bias.unsqueeze(1), shares, self.pieces)
        return (embedded + columns * self.slopes.unsqueeze(1)).transpose(0, 1)

    def extra_repr(self) -> str:
        """Return the numbers of columns, bins and outputs."""
        columns, bins, size = self.pieces.shape
        return f"{columns} numbers, {bins} bins, {size} numbers out each"
