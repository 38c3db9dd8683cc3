"""k-fold cross-validation: metrics of each fold and their mean and standard deviation."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from ml.evaluation.metrics import evaluate
from ml.training.run import Run

Figures = dict[str, float]


@dataclass(frozen=True)
class FoldResults:
    """Results of the completed folds of a job's cross-validation."""

    folds: list[Figures]
    """Metrics of each fold."""
    steps: int
    """Steps done in all folds."""

    @classmethod
    def from_state(cls, state: dict[str, Any] | None) -> "FoldResults":
        """Restore the results from a checkpoint's state; without one, return empty results."""
        return cls(**(state or {}).get("course", {"folds": [], "steps": 0}))

    def with_fold(self, run: Run) -> "FoldResults":
        """Evaluate `run` on its held-out fold; return the results with that fold added."""
        assert run.data.test is not None
        figures = evaluate(run.model, run.data.test, run.signature, run.spec.loss.measure)
        return FoldResults([*self.folds, figures], self.steps + run.progress.step)

    def summary(self) -> Figures:
        """Return the mean of each metric over the folds, such as `cv_accuracy`, and its population
        standard deviation, such as `cv_accuracy_std`. Metrics missing from a fold are left out."""
        shared = set.intersection(*(set(figures) for figures in self.folds)) if self.folds else ()
        summed: Figures = {}
        for name in sorted(shared):
            values = [figures[name] for figures in self.folds]
            mean = math.fsum(values) / len(values)
            squares = math.fsum((value - mean) ** 2 for value in values)
            summed[f"cv_{name}"] = mean
            summed[f"cv_{name}_std"] = math.sqrt(squares / len(values))
        return summed

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"course": asdict(self)}
