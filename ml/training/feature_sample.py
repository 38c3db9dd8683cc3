"""A bounded sample of training rows, for charts of each feature against the target."""

import math

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ml.datasets import Rows
from ml.signature import Classes, Features, Signature, Values
from ml.strict import Frozen
from ml.units import to_units

MAX_FEATURES = 12
MAX_DRAWN = 12
"""Maximum number of targets in a sample, the first ones."""
MAX_ROWS = 1000
MAX_CATEGORIES = 12
"""Maximum number of categories kept apart; the rarer ones of more than one beyond are merged."""

Number = float | None
"""A number, or null if it is missing or not finite."""


class KeptCategories(Frozen):
    """Categories of a column of codes: indices into `names`."""

    names: list[str]
    """The most frequent categories of the training rows, in the model's order."""
    others: int = 0
    """Number of rarer categories, which share the code `len(names)`."""


class FeatureSample(Frozen):
    """A sample of training rows: the first features by column, and the targets, in their units or
    as class indices."""

    columns: dict[str, list[Number]]
    targets: list[float] | dict[str, list[float]]
    """Of several targets, those of the first ones, by name."""
    features: int
    """Number of features, of which `columns` has the first; in samples of earlier versions, those
    that are not categorical."""
    categories: dict[str, KeptCategories] = Field(default={})
    """Categories of the columns that are not numbers; false and true of a boolean."""
    dates: list[str] = Field(default=[])
    """Columns that are dates: days since 1970-01-01 in UTC."""
    rows: int | None = None
    """Number of training rows; null in samples of earlier versions."""


def sample_features(train: Rows, signature: Signature) -> FeatureSample | None:
    """Return a sample of the rows `train` with the fitted `signature`; None of images."""
    inputs = signature.inputs
    if not isinstance(inputs, Features):
        return None
    sample = train if len(train) <= MAX_ROWS else train.at(spaced(len(train), MAX_ROWS))
    columns: dict[str, list[Number]] = {}
    kept: dict[str, KeptCategories] = {}
    for index, name in enumerate(inputs.names[:MAX_FEATURES]):
        values = sample.inputs[:, index]
        if (names := _category_names(inputs, name)) is not None:
            kept[name], recoding = _most_frequent(names, train.inputs[:, index])
            values = values.nan_to_num(-1).long()
            # The last place is that of the code -1: a missing value.
            values = torch.tensor([*recoding, math.nan])[values]
        columns[name] = numbers(values)
    return FeatureSample(
        columns=columns,
        targets=_targets(sample, signature),
        features=len(inputs.names),
        categories=kept,
        dates=[name for name in columns if inputs.encoding and name in inputs.encoding.dates],
        rows=len(train),
    )


def _targets(sample: Rows, signature: Signature) -> list[float] | dict[str, list[float]]:
    output = signature.output
    if isinstance(output, Classes):
        classes: list[float] = sample.targets.double().tolist()
        return classes
    columns: list[list[float]] = to_units(sample.targets, output).T.tolist()
    if not isinstance(output, Values):
        return columns[0]
    names = [target.name for target in output.targets[:MAX_DRAWN]]
    return dict(zip(names, columns, strict=False))


def spaced(total: int, most: int) -> Tensor:
    """Return up to `most` evenly spaced indices below `total`, including the first and the
    last."""
    if total <= most:
        return torch.arange(total)
    return torch.linspace(0, total - 1, most, dtype=torch.float64).round().long()


def numbers(values: Tensor) -> list[Number]:
    """Return values as a list, null for each that is not finite."""
    return [finite(value) for value in values.tolist()]


def finite(value: float) -> Number:
    """Return a number, null if it is not finite."""
    return value if math.isfinite(value) else None


def _category_names(inputs: Features, name: str) -> list[str] | None:
    """Return the categories of a feature, by code; None of a number."""
    if inputs.encoding is None:
        return None
    if name in inputs.encoding.booleans:
        return ["false", "true"]
    return inputs.encoding.categories.get(name)


def _most_frequent(names: list[str], codes: Tensor) -> tuple[KeptCategories, list[float]]:
    """Return the categories to keep of `names`, and the new code of each of `names`."""
    known = codes[codes >= 0].long().numpy()
    counts = np.bincount(known, minlength=len(names))
    # A single category would take as much room merged as apart.
    most = len(names) if len(names) <= MAX_CATEGORIES + 1 else MAX_CATEGORIES
    kept = sorted(np.argsort(-counts, kind="stable")[:most].tolist())
    places = {code: place for place, code in enumerate(kept)}
    return (
        KeptCategories(names=[names[code] for code in kept], others=len(names) - len(kept)),
        [float(places.get(code, len(kept))) for code in range(len(names))],
    )
