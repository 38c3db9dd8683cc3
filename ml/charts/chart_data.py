"""The data that a job's charts are drawn from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml.charts.axes import counted
from ml.datasets.uploads import UploadSpec
from ml.evaluation.schemas import Classification, Regression
from ml.signature import Signature, Value
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
    def is_target_standardized(self) -> bool:
        """Whether the target is trained on, and the loss measured, in standard deviations."""
        return isinstance(self.spec.dataset, UploadSpec) and isinstance(
            self.signature.output, Value
        )

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
        evaluation, features = self.summary.evaluation, self.sample.features
        kind = {"train": "training"}.get(evaluation.split, evaluation.split)
        rows = counted(evaluation.rows, f"{kind} row")
        total = features.rows if evaluation.split == "train" and features else None
        if total in (None, evaluation.rows):
            return rows
        # Of very many training rows, a part is evaluated.
        return f"{evaluation.rows:,} of {total:,} training rows"

    def epochs_drawn(self) -> str:
        """Return how many epochs are drawn if these are not all: `2,000 of 5,001 epochs drawn`."""
        done = math.floor(self.epochs[-1].epoch) if self.epochs else 0
        return f"{len(self.epochs):,} of {done:,} epochs drawn" if len(self.epochs) < done else ""

    def series(self, *names: str) -> list[tuple[str, Point, float]]:
        """Return the reported values of the epoch metrics `names`: name, point and value."""
        return [
            (name, point, point.values[name])
            for name in names
            for point in self.epochs
            if name in point.values
        ]
