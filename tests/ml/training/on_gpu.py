"""Jobs on a CUDA device, by the default engine or, for comparison, by an eager one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ml import datasets
from ml.datasets import Dataset
from ml.specs import TrainingSpec
from ml.training import loop
from ml.training.engines.choose import choose
from ml.training.initial_model import build
from ml.training.loop import Report
from ml.training.run import Run
from tests.conftest import PLANE

CUDA = torch.device("cuda", 0)
# 25 steps per epoch, 500 in total: the first 200 may run eagerly before a graph is captured. tanh
# is smooth, so rounding errors do not grow at kinks.
JOB: dict[str, Any] = PLANE | {
    "dataset": PLANE["dataset"] | {"noise": 0.5},
    "model": {"kind": "mlp", "hidden": [32, 16], "activation": "tanh"},
    "optimizer": {"kind": "adam", "lr": 0.005},
    "epochs": 20,
}
# 500 steps per epoch, so that the engine checks for requests within an epoch.
LONG: dict[str, Any] = JOB | {
    "dataset": JOB["dataset"] | {"size": 20_000},
    "epochs": 2,
}
CAPTURED_FROM = 200
"""First step that can replay a graph."""


@dataclass(frozen=True)
class Trained:
    run: Run
    reports: list[Report]
    engine: str
    """Name of the engine at the end."""

    @property
    def weights(self) -> list[Tensor]:
        return [parameter.detach().cpu() for parameter in self.run.model.parameters()]

    @property
    def losses(self) -> list[float]:
        """Training loss of each epoch."""
        return [r.values["train_loss"] for r in self.reports if r.level == "epoch"]


def load(document: dict[str, Any]) -> tuple[TrainingSpec, Dataset]:
    spec = TrainingSpec.of(document)
    return spec, datasets.load(spec.dataset, spec.split, Path())


def start(document: dict[str, Any], device: torch.device = CUDA, placement: Any = None) -> Run:
    spec, data = load(document)
    return Run(build(spec, data), data, spec, device, placement)


def finish(run: Run, graphs: bool = True, between_steps: Any = lambda run: None) -> Trained:
    engine = choose(run, graphs=graphs)
    reports = []
    for report in loop.fit(run, engine):
        if report is None:
            between_steps(run)
        else:
            reports.append(report)
    return Trained(run, reports, engine.name)


def train(document: dict[str, Any], graphs: bool = True) -> Trained:
    return finish(start(document), graphs)
