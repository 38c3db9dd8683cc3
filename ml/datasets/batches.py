"""What a loop over a data set is given, batch by batch."""

from collections.abc import Iterator

import torch

from ml.datasets.splits import Rows


def batches(rows: Rows, batch_size: int, shuffle: bool, seed: int) -> Iterator[Rows]:
    """Yield `rows` in batches, the last of which may be smaller; shuffled, in the order in which a
    run of this seed takes training rows in its first epoch."""
    order = (
        torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
        if shuffle
        else torch.arange(len(rows))
    )
    for index in torch.split(order, batch_size):
        yield rows.at(index)
