"""What a job's charts are drawn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml.evaluation.schemas import Classification, Regression
from ml.signature import Signature
from ml.specs import TrainingSpec
from ml.training.summary import Sample, TrainingSummary


@dataclass(frozen=True)
class Point:
    """Figures of a run, and where in it they were measured."""

    epoch: float
    """Epochs done, and the fraction of the one that ran."""
    values: Mapping[str, float]


@dataclass(frozen=True)
class ChartData:
    """What is known of a job: its history so far and, once it has succeeded, its training
    summary."""

    spec: TrainingSpec
    epochs: Sequence[Point]
    steps: Sequence[Point]
    summary: TrainingSummary | None

    @property
    def signature(self) -> Signature:
        """What the model takes and answers."""
        return self.spec.dataset.signature()

    @property
    def sample(self) -> Sample:
        """The kept sample of a job that has one."""
        assert self.summary
        return self.summary.sample

    @property
    def classification(self) -> Classification:
        """The kept evaluation of a classification that has one."""
        assert self.summary
        assert isinstance(self.summary.evaluation, Classification)
        return self.summary.evaluation

    @property
    def regression(self) -> Regression:
        """The kept evaluation of a regression that has one."""
        assert self.summary
        assert isinstance(self.summary.evaluation, Regression)
        return self.summary.evaluation

    def evaluated_on(self) -> str:
        """Return in words what the model was evaluated on."""
        assert self.summary
        evaluation = self.summary.evaluation
        kind = {"train": "training"}.get(evaluation.split, evaluation.split)
        return f"{evaluation.rows:,} {kind} row{'s' if evaluation.rows != 1 else ''}"

    def series(self, *names: str) -> list[tuple[str, Point, float]]:
        """Return those of the epochs' figures that are there: name, point and figure."""
        return [
            (name, point, point.values[name])
            for name in names
            for point in self.epochs
            if name in point.values
        ]
