"""What a job's charts are drawn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml.evaluation.schemas import Classification, Regression
from ml.signature import Signature
from ml.specs import TrainingSpec
from ml.training.summary import Keepsakes, Sample


@dataclass(frozen=True)
class Point:
    """Figures of a run, and where in it they were measured."""

    epoch: float
    """Epochs done, and the fraction of the one that ran."""
    values: Mapping[str, float]


@dataclass(frozen=True)
class Material:
    """What is known of a job: its history so far and, once it has ended well, its keepsakes."""

    spec: TrainingSpec
    epochs: Sequence[Point]
    steps: Sequence[Point]
    kept: Keepsakes | None

    @property
    def signature(self) -> Signature:
        """What the model takes and answers."""
        return self.spec.dataset.signature()

    @property
    def sample(self) -> Sample:
        """The kept sample of a job that has one."""
        assert self.kept
        return self.kept.sample

    @property
    def classification(self) -> Classification:
        """The kept evaluation of a classification that has one."""
        assert self.kept
        assert isinstance(self.kept.evaluation, Classification)
        return self.kept.evaluation

    @property
    def regression(self) -> Regression:
        """The kept evaluation of a regression that has one."""
        assert self.kept
        assert isinstance(self.kept.evaluation, Regression)
        return self.kept.evaluation

    def assessed(self) -> str:
        """Return in words what the model was assessed on."""
        assert self.kept
        evaluation = self.kept.evaluation
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
