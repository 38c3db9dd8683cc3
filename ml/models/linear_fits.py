"""Linear models fitted at once, as baselines and as parts of models: ridge and logistic regression.

Both are deterministic, and their work is bounded by the number of rows.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ml.preprocessing import moments
from ml.signature import Classes, Output

MAX_RIDGE_WIDTH = 1024
"""Maximum number of inputs of a ridge regression."""
MAX_RIDGE_VALUES = 8_000_000
"""Maximum number of values, rows times inputs, that a ridge regression is fitted to."""
MAX_LOGISTIC_PRODUCTS = 25_000_000
"""Maximum number of rows times inputs times classes that a logistic regression is fitted to."""
FEWEST_ROWS = 500
"""Number of rows, if there are as many, without which a linear model is not fitted."""

PENALTIES = torch.logspace(-8, 2, 21, dtype=torch.float64)
"""Penalties of a ridge regression to choose from, per row."""
PENALTY = 1.0
"""Penalty of a logistic regression: half the sum of squared weights, against the sum of losses."""
MAX_ITERATIONS = 40
GRADIENT_TOLERANCE = 1e-5


class Affine(NamedTuple):
    """`inputs @ weights + bias`."""

    weights: Tensor
    """`(inputs, outputs)`."""
    bias: Tensor
    """`(outputs,)`."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the outputs `(rows, outputs)` for `inputs` `(rows, inputs)`."""
        return inputs.to(self.weights.dtype) @ self.weights + self.bias

    def plus(self, other: "Affine") -> "Affine":
        """Return the linear model whose outputs are the sum of both."""
        return Affine(self.weights + other.weights, self.bias + other.bias)

    def times(self, factor: float) -> "Affine":
        """Return the linear model whose outputs are multiplied by `factor`."""
        return Affine(factor * self.weights, factor * self.bias)

    def is_finite(self) -> bool:
        """Return whether all numbers are finite."""
        return all(bool(tensor.isfinite().all()) for tensor in self)


def affordable_rows(rows: int, width: int, output: Output) -> int:
    """Return the number of rows of `width` inputs, at most `rows`, that a linear model can be
    fitted to in bounded time; 0 if they are too few for a fit."""
    if isinstance(output, Classes):
        most = MAX_LOGISTIC_PRODUCTS // (width * output.size)
    else:
        most = MAX_RIDGE_VALUES // width if width <= MAX_RIDGE_WIDTH else 0
    affordable = min(rows, most)
    return 0 if affordable < min(rows, FEWEST_ROWS) else affordable


def linear_fit(inputs: Tensor, targets: Tensor, output: Output) -> Affine | None:
    """Return the ridge regression of values, `targets` `(rows, size)`, or the logistic regression
    of classes `(rows,)`; None if it is not finite."""
    if isinstance(output, Classes):
        found = logistic(inputs, targets, output.size)
    else:
        found = ridge(inputs, targets)
    return found if found.is_finite() else None


def ridge(inputs: Tensor, targets: Tensor) -> Affine:
    """Return the ridge regression of each of the `targets` `(rows, size)` on `inputs` `(rows,
    columns)`, float64.

    Columns are standardised; constant ones have no weight. Of `PENALTIES`, the one with the lowest
    error of generalised cross-validation is used for each target (Golub, Heath and Wahba 1979,
    equation 1.4), so that well-determined weights are those of least squares.
    """
    mean, std = moments(inputs)
    columns = (inputs.double() - mean) / std
    eigenvalues, vectors = torch.linalg.eigh(columns.T @ columns)
    fits = [_ridge(columns, target, eigenvalues, vectors) for target in targets.unbind(1)]
    weights = torch.stack([slopes / std for slopes, _ in fits], 1)
    bias = torch.stack(
        [level - mean @ one for (_, level), one in zip(fits, weights.unbind(1), strict=True)]
    )
    return Affine(weights, bias)


def _ridge(
    columns: Tensor, targets: Tensor, eigenvalues: Tensor, vectors: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the weights of standardised `columns` in the ridge regression of `targets` `(rows,)`,
    and the mean of these. `eigenvalues` and `vectors` are those of `columns.T @ columns`."""
    rows, mean_target = len(targets), targets.double().mean()
    residuals = targets.double() - mean_target
    eigenvalues = eigenvalues.clamp(min=0.0)
    # Of directions in which the rows do not vary, rounding leaves a little.
    least = eigenvalues.amax() * rows * torch.finfo(torch.float64).eps
    varies = eigenvalues > least
    projections = (vectors.T @ (columns.T @ residuals)).where(varies, 0.0)
    eigenvalues = eigenvalues.where(varies, torch.inf)
    explained = projections.square() / eigenvalues
    penalties = rows * PENALTIES[:, None]
    shrinkage = (penalties / (eigenvalues + penalties)).where(varies, 1.0)
    unexplained = (residuals.square().sum() - explained.sum()).clamp(min=0.0)
    errors = unexplained + (explained * shrinkage.square()).sum(1)
    freedom = rows - 1 - (1 - shrinkage).sum(1)
    # Near 0 degrees of freedom, both errors and freedom are little more than rounding.
    scores = torch.where(freedom > 0.01 * rows, errors / freedom.square(), torch.inf)
    penalty = penalties[scores.argmin()]
    return vectors @ (projections / (eigenvalues + penalty)), mean_target


def logistic(inputs: Tensor, classes: Tensor, size: int) -> Affine:
    """Return the multinomial logistic regression of `classes` `(rows,)`, indices below `size`, on
    `inputs` `(rows, columns)`, float32: at most `MAX_ITERATIONS` of L-BFGS from the shares of the
    classes."""
    inputs = inputs.float()
    rows, columns = inputs.shape
    actual = torch.zeros(rows, size)
    actual[torch.arange(rows), classes] = 1.0
    parameters = torch.zeros(columns + 1, size)
    # A class without rows would have a bias of minus infinity.
    parameters[-1] = (actual.sum(0) + 0.5).log()
    optimizer = torch.optim.LBFGS(
        [parameters],
        max_iter=MAX_ITERATIONS,
        tolerance_grad=GRADIENT_TOLERANCE,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        weights, bias = parameters[:-1], parameters[-1]
        logits = torch.addmm(bias, inputs, weights)
        errors = (logits.softmax(1) - actual) / rows
        parameters.grad = torch.cat(
            [inputs.T @ errors + PENALTY / rows * weights, errors.sum(0, keepdim=True)]
        )
        penalty = PENALTY / (2 * rows) * weights.square().sum()
        return cross_entropy(logits, classes) + penalty

    with torch.no_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    return Affine(parameters[:-1].clone(), parameters[-1].clone())
