"""Shares of several predictors in one: weights of at least 0 that sum to 1.

Both are deterministic, computed in float64 on the CPU, and never worse on the given rows than the
best single predictor.
"""

from itertools import chain, combinations

import torch
from torch import Tensor

ITERATIONS = 500
LEAST = 0.01
"""Share below which a predictor is left out."""


def shares_of_values(predictions: Tensor, targets: Tensor) -> Tensor:
    """Return the shares `(predictors,)` with the least squared error of the mixed `predictions`
    `(rows, predictors)`, float64, of `targets` `(rows,)`.

    Of each set of predictors the best weights that sum to 1 are found, and of those that are at
    least 0 the best: there are few predictors, so all sets are tried.
    """
    count = predictions.shape[1]
    errors = predictions - targets.unsqueeze(1)
    products = errors.T @ errors / len(errors)
    best, lowest = torch.zeros(count, dtype=torch.float64), torch.inf
    sizes = (combinations(range(count), size) for size in range(1, count + 1))
    for chosen in chain.from_iterable(sizes):
        among = torch.tensor(chosen)
        within = products[among][:, among]
        # Weights that sum to 1 minimise w' P w where P w is the same for all.
        weights = torch.linalg.lstsq(
            within, torch.ones(len(chosen), 1, dtype=torch.float64), driver="gelsd"
        ).solution.squeeze(1)
        weights = weights / weights.sum()
        if not bool(weights.isfinite().all()) or bool((weights < 0).any()):
            weights = torch.zeros_like(weights)
            weights[within.diagonal().argmin()] = 1.0
        if (loss := float(weights @ within @ weights)) < lowest:
            lowest = loss
            best = torch.zeros(count, dtype=torch.float64)
            best[among] = weights
    return best


def shares_of_classes(likelihoods: Tensor) -> Tensor:
    """Return the shares `(predictors,)` with the least log loss of the mixed probabilities.
    `likelihoods` `(rows, predictors)`, float64, are logarithms of the probability of the actual
    class.

    Expectation maximisation of the weights of a mixture (Dempster, Laird and Rubin 1977, section
    4.3): each iteration lowers the loss.
    """
    count = likelihoods.shape[1]
    # The greatest probability of a row becomes 1; the others are not all 0 then.
    relative = (likelihoods - likelihoods.amax(1, keepdim=True)).exp()
    shares = torch.full((count,), 1 / count, dtype=torch.float64)
    for _ in range(ITERATIONS):
        parts = relative * shares
        shares = (parts / parts.sum(1, keepdim=True)).mean(0)
    shares = torch.where(shares < LEAST, 0.0, shares)
    shares = shares / shares.sum()
    alone = torch.zeros_like(shares)
    alone[likelihoods.mean(0).argmax()] = 1.0
    return max((shares, alone), key=lambda one: float((relative @ one).log().mean()))
