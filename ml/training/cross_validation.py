"""k-fold cross-validation: how good the models of a spec are, by rows they were not trained on."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from ml.evaluation.metrics import evaluate
from ml.losses import LOSSES
from ml.training.run import Run

Figures = dict[str, float]


@dataclass(frozen=True)
class FoldResults:
    """What lies behind the present run of a job: the folds of its cross-validation."""

    folds: list[Figures]
    """The figures of each."""
    steps: int
    """Done in all of them."""

    @classmethod
    def from_state(cls, state: dict[str, Any] | None) -> "FoldResults":
        """Return what the state of a checkpoint tells."""
        return cls(**(state or {}).get("course", {"folds": [], "steps": 0}))

    def with_fold(self, run: Run) -> "FoldResults":
        """Return it with the fold that `run` was trained without."""
        assert run.data.test is not None
        figures = evaluate(run.model, run.data.test, run.signature, LOSSES[run.spec.loss])
        return FoldResults([*self.folds, figures], self.steps + run.progress.step)

    def summary(self) -> Figures:
        """Return the mean of each figure over the folds, as `cv_accuracy`, and its standard
        deviation (of the population), as `cv_accuracy_std`; what some fold lacks is left out."""
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
        """Return it for a checkpoint."""
        return {"course": asdict(self)}
