"""What a loop over a data set is given, batch by batch."""

from collections.abc import Iterator

import torch
from torch import Tensor


def batches(rows: int, batch_size: int, shuffle: bool, seed: int) -> Iterator[Tensor]:
    """Yield which of so many rows each batch takes, int64 `(batch_size,)`, the last perhaps fewer;
    shuffled, in the order in which a run of this seed takes training rows in its first epoch."""
    order = (
        torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
        if shuffle
        else torch.arange(rows)
    )
    yield from torch.split(order, batch_size)
