"""Shares of several predictors in one: weights of at least 0 that sum to 1.

They are computed from one figure of each predictor for each row, `(rows, predictors)` float64 on
the CPU: the error of a value, or the logarithm of the probability of the actual class; and from the
weight of each row, `(rows,)` float64 above 0. Of several values, each counts as a row. They are
deterministic, and on these rows never worse than the best single predictor.
"""

import math
from collections.abc import Callable
from itertools import chain, combinations

import torch
from torch import Tensor

Losses = Callable[[Tensor, Tensor], Tensor]
"""Loss of each row `(rows,)`, from figures and shares."""

ITERATIONS = 500
NEGLIGIBLE = 0.01
"""Share of a loss that is too little a gain, if it is within a standard error."""
PRIOR_ROWS = 150
"""Number of rows that weigh as much as the belief that either predictor is worth a half."""
STEPS = 21
CHANCE = 2.0
"""Standard errors that chance may explain."""
LEAST = 0.01
"""Share below which a predictor is left out."""


def shares_of_values(errors: Tensor, weights: Tensor) -> Tensor:
    """Return the shares `(predictors,)` with the least mean squared error of the mixed values.

    Of each set of predictors the best shares that sum to 1 are found, and of those that are at
    least 0 the best: there are few predictors, so all sets are tried.
    """
    count = errors.shape[1]
    products = (errors.T * weights) @ errors / weights.sum()
    best, lowest = torch.zeros(count, dtype=torch.float64), torch.inf
    sizes = (combinations(range(count), size) for size in range(1, count + 1))
    for chosen in chain.from_iterable(sizes):
        among = torch.tensor(chosen, dtype=torch.int64)
        within = products[among][:, among]
        # Shares that sum to 1 minimise s' P s where P s is the same for all.
        shares = torch.linalg.lstsq(
            within, torch.ones(len(chosen), 1, dtype=torch.float64), driver="gelsd"
        ).solution.squeeze(1)
        shares = shares / shares.sum()
        if not bool(shares.isfinite().all()) or bool((shares < 0).any()):
            shares = torch.zeros_like(shares)
            shares[within.diagonal().argmin()] = 1.0
        if (loss := float(shares @ within @ shares)) < lowest:
            lowest = loss
            best = torch.zeros(count, dtype=torch.float64)
            best[among] = shares
    return best


def shares_of_classes(likelihoods: Tensor, weights: Tensor) -> Tensor:
    """Return the shares `(predictors,)` with the least log loss of the mixed probabilities.

    Expectation maximisation of the weights of a mixture (Dempster, Laird and Rubin 1977, section
    4.3): each iteration lowers the loss.
    """
    count = likelihoods.shape[1]
    weights = weights / weights.mean()
    # The greatest probability of a row becomes 1; the others are not all 0 then.
    relative = (likelihoods - likelihoods.amax(1, keepdim=True)).exp()
    shares = torch.full((count,), 1 / count, dtype=torch.float64)
    for _ in range(ITERATIONS):
        parts = relative * shares
        shares = (weights[:, None] * (parts / parts.sum(1, keepdim=True))).mean(0)
    shares = torch.where(shares < LEAST, 0.0, shares)
    shares = shares / shares.sum()
    alone = torch.zeros_like(shares)
    alone[(weights @ likelihoods).argmax()] = 1.0
    return max((shares, alone), key=lambda one: float(weights @ (relative @ one).log()))


def drawn_to_half(found: float, figures: Tensor, losses: Losses) -> float:
    """Return the share of the second of two predictors, whose best is `found`: drawn to a half as
    if `PRIOR_ROWS` more rows said so, but only as far as chance may explain the higher loss.

    A network that was stopped by the same rows looks better on them than it is.
    """
    best = losses(figures, _pair(found))
    rows = len(best)
    wanted = (rows * found + PRIOR_ROWS / 2) / (rows + PRIOR_ROWS)
    for share in torch.linspace(wanted, found, STEPS).tolist():
        worse = losses(figures, _pair(share)) - best
        if worse.mean() <= CHANCE * worse.std(correction=0) / math.sqrt(rows):
            return float(share)
    return found


def mixed_errors(errors: Tensor, shares: Tensor) -> Tensor:
    """Return the errors `(rows,)` of the mixed values."""
    return errors @ shares


def mixed_likelihoods(likelihoods: Tensor, shares: Tensor) -> Tensor:
    """Return the logarithms `(rows,)` of the mixed probabilities."""
    return (likelihoods + shares.log()).logsumexp(1)


def losses_of_values(errors: Tensor, shares: Tensor) -> Tensor:
    """Return the squared errors `(rows,)` of the mixed values."""
    return mixed_errors(errors, shares).square()


def losses_of_classes(likelihoods: Tensor, shares: Tensor) -> Tensor:
    """Return the log losses `(rows,)` of the mixed probabilities."""
    return -mixed_likelihoods(likelihoods, shares)


def is_better(losses: Tensor, others: Tensor) -> bool:
    """Return whether losses `(rows,)` are lower than `others` by more than chance, or by much."""
    gains = others - losses
    gain = gains.mean()
    if len(gains) > 1 and gain > gains.std() / math.sqrt(len(gains)):
        return True
    return bool(gain > NEGLIGIBLE * others.mean())


def _pair(share: float) -> Tensor:
    return torch.tensor([1 - share, share], dtype=torch.float64)
