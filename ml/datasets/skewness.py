"""The skewness of a target, and of its logarithm."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from ml.ingest.warning import DataWarning, folded, quoted

HIGHLY_SKEWED = 1.0
"""Skewness from which a distribution is highly skewed: Bulmer 1979, Principles of Statistics, 4."""
FAR_MORE = 2.0
"""Ratio to the skewness of the logarithm from which the logarithm is worth a try. It is the member
of the family of Box and Cox 1964 for a skew to the right."""
MIN_ROWS = 30
"""Number of rows below which a few chance values make the skewness: its standard error is about
the root of 6 / rows."""


def warnings(names: Sequence[str], targets: Tensor) -> list[DataWarning]:
    """Return a warning for each target of `names` whose values, a column of `targets` `(rows,
    size)`, are far more skewed to the right than their logarithms. Those of values of 0 and less do
    not exist."""
    columns = zip(names, targets.double().unbind(1), strict=True)
    return folded(warning for column in columns for warning in _warnings(*column))


def _warnings(name: str, values: Tensor) -> Iterator[DataWarning]:
    if len(values) < MIN_ROWS or not bool((values > 0).all()):
        return
    skew, of_logarithm = skewness(values), skewness(values.log())
    if skew < HIGHLY_SKEWED or skew < FAR_MORE * abs(of_logarithm):
        return
    message = (
        f"{quoted(name)} has a skewness of {skew:.1f}, and its logarithm of "
        f"{round(of_logarithm, 1) + 0.0:.1f}: the few largest values decide what is learned; "
        "consider a column of its logarithm as the target, or loss=huber"
    )
    yield DataWarning(column=name, kind="skewed", message=message)


def skewness(values: Tensor) -> float:
    """Return the third standardised moment of `values`, float64 `(rows,)`; 0 for equal ones."""
    centred = values - values.mean()
    scale = centred.abs().max()
    if not scale:
        return 0.0
    centred = centred / scale  # the cube of a large value would overflow
    variance = centred.square().mean()
    return float(centred.pow(3).mean() / variance.pow(1.5)) if variance else 0.0
