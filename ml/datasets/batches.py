"""The row indices of each batch of a loop over a data set."""

from collections.abc import Iterator

import torch
from torch import Tensor


def batches(rows: int, batch_size: int, shuffle: bool, seed: int) -> Iterator[Tensor]:
    """Yield the row indices of each batch, int64 `(batch_size,)`; the last may be smaller. The
    shuffled order is that of the first epoch of a run with this seed."""
    order = (
        torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
        if shuffle
        else torch.arange(rows)
    )
    yield from torch.split(order, batch_size)
