"""The division of training rows into folds."""

import torch
from torch import Generator, Tensor


def fold_of(targets: Tensor, folds: int, seed: int) -> Tensor:
    """Return the fold `(rows,)` int64, from 0 up, that each row is held out in.

    The division is random and follows from `seed`. Every fold has the same share of each class of
    int64 `targets` `(rows,)`, or of low and of high sums of other targets `(rows, size)`, as far as
    the rows can be divided so.
    """
    levels = targets.view(len(targets), -1).sum(1)
    order = torch.randperm(len(targets), generator=Generator().manual_seed(seed))
    ranked = order[levels[order].argsort(stable=True)]
    # Each run of as many neighbours as there are folds goes to different ones, in random order.
    runs = torch.rand(-(-len(targets) // folds), folds, generator=Generator().manual_seed(seed))
    fold = torch.empty(len(targets), dtype=torch.int64)
    fold[ranked] = runs.argsort(dim=1).flatten()[: len(targets)]
    return fold
