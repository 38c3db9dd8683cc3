"""The data that a job's charts are drawn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml.evaluation.schemas import Classification, Regression
from ml.signature import Signature
from ml.specs import TrainingSpec
from ml.training.summary import Sample, TrainingSummary


@dataclass(frozen=True)
class Point:
    """Metrics of a run, and the epoch they were measured at."""

    epoch: float
    """Epochs completed, with the fraction of the current one."""
    values: Mapping[str, float]


@dataclass(frozen=True)
class ChartData:
    """A job's history so far and, once it has succeeded, its training summary."""

    spec: TrainingSpec
    epochs: Sequence[Point]
    steps: Sequence[Point]
    summary: TrainingSummary | None

    @property
    def signature(self) -> Signature:
        """The model's signature."""
        return self.spec.dataset.signature()

    @property
    def sample(self) -> Sample:
        """The summary's sample; the job must have succeeded."""
        assert self.summary
        return self.summary.sample

    @property
    def classification(self) -> Classification:
        """The summary's evaluation, of a classification; the job must have succeeded."""
        assert self.summary
        assert isinstance(self.summary.evaluation, Classification)
        return self.summary.evaluation

    @property
    def regression(self) -> Regression:
        """The summary's evaluation, of a regression; the job must have succeeded."""
        assert self.summary
        assert isinstance(self.summary.evaluation, Regression)
        return self.summary.evaluation

    def evaluated_on(self) -> str:
        """Return the number of rows and the split of the evaluation: `2,000 test rows`."""
        assert self.summary
        evaluation = self.summary.evaluation
        kind = {"train": "training"}.get(evaluation.split, evaluation.split)
        return f"{evaluation.rows:,} {kind} row{'s' if evaluation.rows != 1 else ''}"

    def series(self, *names: str) -> list[tuple[str, Point, float]]:
        """Return the reported values of the epoch metrics `names`: name, point and value."""
        return [
            (name, point, point.values[name])
            for name in names
            for point in self.epochs
            if name in point.values
        ]
