"""Training images are changed in the same way by every engine and after every interruption."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ml.datasets.splits import Dataset, Rows
from ml.specs import TrainingSpec
from ml.training import checkpoints, loop
from ml.training.batches import Batches, Resident, Stream
from ml.training.engines.augmented_batches import AugmentedBatches
from ml.training.engines.base import Autograd, Engine, Passes
from ml.training.engines.choose import choose
from ml.training.engines.cuda_graph import CudaGraphEngine, steps_per_call
from ml.training.engines.eager import EagerEngine
from ml.training.engines.manual_backward import manual_network
from ml.training.initial_model import build
from ml.training.run import Run
from tests.ml.training.recorded_graphs import RecordedGraphs
from tests.ml.training.test_sweeps import images

CPU = torch.device("cpu")
DOCUMENT: dict[str, Any] = {
    "dataset": {"kind": "mnist"},
    "augment": ["flip", {"crop": 2}, {"rotate": 10}],
    "epochs": 3,
    "batch_size": 16,
}
MLP = {"kind": "mlp", "hidden": [8], "dropout": 0.2}
CNN = {"kind": "cnn", "channels": [2, 2], "hidden": [4]}


def prepare(data: Dataset, **changes: Any) -> Run:
    spec = TrainingSpec.of(DOCUMENT | changes)
    return Run(build(spec, data), data, spec, CPU)


def engine_of(run: Run, name: str) -> Engine:
    size = run.spec.batch_size
    passes: Passes = (manual_network(run) if "by hand" in name else None) or Autograd(run)
    together = steps_per_call(run) if "graph" in name else passes.steps_ahead
    batches: Batches = (
        Stream(run.train, size, CPU, together)
        if "streamed" in name
        else Resident(run.train, size, together)
    )
    changing = AugmentedBatches(batches, run)
    if "graph" not in name:
        return EagerEngine(run, changing, passes)
    return CudaGraphEngine(run, changing, passes, RecordedGraphs().record, eager_steps=3)


@pytest.mark.parametrize("model", [MLP, CNN], ids=lambda model: model["kind"])
def test_all_engines_change_images_alike(model: dict[str, Any]) -> None:
    data = images(100)
    outcomes = []
    for name in ("eager", "by hand", "streamed", "graph", "graph by hand", "graph streamed"):
        run = prepare(data, model=model)
        reports = list(loop.train(run, engine_of(run, name)))
        outcomes.append((reports, list(run.model.state_dict().values())))
    for reports, weights in outcomes[1:]:
        assert reports == outcomes[0][0]
        assert all(map(torch.equal, weights, outcomes[0][1]))


@pytest.mark.parametrize("step", [0, 3, 7, 15])
def test_run_resumed_at_any_step_ends_the_same(tmp_path: Path, step: int) -> None:
    data = images(100)
    whole = prepare(data, model=MLP)
    list(loop.train(whole))
    stopped = prepare(data, model=MLP)
    engine = choose(stopped)
    engine.steps_per_advance = 1
    for _ in loop.fit(stopped, engine):
        if stopped.progress.step == step:
            break
    checkpoints.save(tmp_path, 1, step, stopped.state_dict(), keep=1)
    resumed = prepare(data, model=MLP)
    state = checkpoints.load_newest(tmp_path)
    assert state is not None
    resumed.load_state_dict(state)
    list(loop.train(resumed))
    expected = whole.model.state_dict().values()
    assert all(map(torch.equal, resumed.model.state_dict().values(), expected))


def test_every_epoch_has_changes_of_its_own_and_the_data_stays() -> None:
    data = images(40)
    before = data.train.inputs.clone()
    run = prepare(data, batch_size=40)
    batches = AugmentedBatches(Resident(run.train, 40), run)
    seen = []
    for epoch in (1, 2, 1):
        run.progress.epoch = epoch
        batches.begin(torch.arange(40), 0)
        seen.append(batches.take().inputs.clone())
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(data.train.inputs, before)


def test_validation_images_are_not_changed() -> None:
    data = images(40)
    constant = {"optimizer": {"kind": "sgd", "lr": 1e-30}, "epochs": 1}
    rows = Rows(data.train.inputs, data.train.targets)
    with_validation = Dataset(data.signature, data.preprocessing, data.train, rows, None)
    values = []
    for augment in ([], DOCUMENT["augment"]):
        run = prepare(with_validation, augment=augment, **constant)
        values.append({r.level: r.values for r in loop.train(run)}["epoch"])
    assert values[0]["validation_loss"] == values[1]["validation_loss"]
    assert values[0]["train_loss"] != values[1]["train_loss"]
