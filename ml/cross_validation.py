"""k-fold cross-validation: how good the models of a spec are, by rows they were not trained on."""

import math
from collections.abc import Sequence

Figures = dict[str, float]


def summary(folds: Sequence[Figures]) -> Figures:
    """Return the mean of each figure over the folds, as `cv_accuracy`, and its standard deviation
    (of the population), as `cv_accuracy_std`; figures that some fold lacks are left out."""
    shared = set.intersection(*(set(figures) for figures in folds)) if folds else set()
    summed: Figures = {}
    for name in sorted(shared):
        values = [figures[name] for figures in folds]
        mean = math.fsum(values) / len(values)
        summed[f"cv_{name}"] = mean
        summed[f"cv_{name}_std"] = math.sqrt(
            math.fsum((value - mean) ** 2 for value in values) / len(values)
        )
    return summed
