"""What only a CUDA device can show."""

import copy
from pathlib import Path

import pytest
import torch

from ml import datasets, training
from ml.artifacts import save_model
from ml.evaluation import evaluate
from ml.losses import LOSSES
from ml.specs import TrainingSpec
from tests.conftest import PLANE

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]


def test_a_job_on_the_gpu_learns_what_it_learns_on_the_cpu(tmp_path: Path) -> None:
    spec = TrainingSpec.model_validate(PLANE)
    data = datasets.load(spec.dataset, spec.split, tmp_path)
    assert data.test is not None
    losses = {}
    for name in ("cpu", "cuda"):
        device = training.resolve_device(name)
        model = copy.deepcopy(training.build(spec, data))
        reports = list(training.fit(training.Run(model, data, spec, device)))
        figures = evaluate(model, data.test.to(device), data.signature, LOSSES[spec.loss])
        save_model(tmp_path / name, model, spec, data.signature, figures, "", device)
        losses[name] = (reports[-1].values["train_loss"], figures["mse"])
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-3)


def test_auto_means_the_gpu() -> None:
    assert training.resolve_device("auto").type == "cuda"
