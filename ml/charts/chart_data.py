"""The data that a job's charts are drawn from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from ml.charts.axes import counted
from ml.datasets.uploads import UploadSpec
from ml.evaluation.schemas import (
    AnyEvaluation,
    Classification,
    JointRegression,
    Regression,
    TargetScores,
)
from ml.signature import Classes, Signature
from ml.specs import TrainingSpec
from ml.training.feature_sample import MAX_DRAWN
from ml.training.summary import Pairs, Sample, TrainingSummary


@dataclass(frozen=True)
class Point:
    """Metrics of a run, and the epoch they were measured at."""

    epoch: float
    """Epochs completed, with the fraction of the current one."""
    values: Mapping[str, float]


@dataclass(frozen=True)
class TargetData:
    """A target of a regression: its evaluation, and some predicted and actual values."""

    name: str
    scores: Regression | TargetScores
    pairs: Pairs


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
        return isinstance(self.spec.dataset, UploadSpec) and not isinstance(
            self.signature.output, Classes
        )

    @property
    def sample(self) -> Sample:
        """The summary's sample; the job must have succeeded."""
        assert self.summary
        return self.summary.sample

    @property
    def evaluation(self) -> AnyEvaluation:
        """The summary's evaluation; the job must have succeeded."""
        assert self.summary
        return self.summary.evaluation

    @property
    def classification(self) -> Classification:
        """The summary's evaluation, of a classification; the job must have succeeded."""
        assert isinstance(self.evaluation, Classification)
        return self.evaluation

    @property
    def targets(self) -> Sequence[TargetData]:
        """The targets of a regression that are drawn, the first ones; the job must have
        succeeded."""
        evaluation, output, pairs = self.evaluation, self.signature.output, self.sample.pairs
        assert not isinstance(evaluation, Classification)
        assert not isinstance(output, Classes)
        scores: Mapping[str, Regression | TargetScores] = (
            evaluation.targets
            if isinstance(evaluation, JointRegression)
            else {output.targets[0].name: evaluation}
        )
        return [
            TargetData(name, found, pairs[name] if isinstance(pairs, dict) else pairs)
            for name, found in islice(scores.items(), MAX_DRAWN)
            if pairs is not None
        ]

    def targets_drawn(self, drawn: int) -> str:
        """Return how many targets are drawn if these are not all: `the first 12 of 20 targets`."""
        total = self.signature.output.size
        is_part = not isinstance(self.signature.output, Classes) and drawn < total
        return f"the first {drawn} of {total} targets" if is_part else ""

    def evaluated_on(self) -> str:
        """Return the number of rows and the split of the evaluation: `2,000 test rows`."""
        evaluation, features = self.evaluation, self.sample.features
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
