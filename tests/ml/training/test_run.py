"""The state of a run between two steps, and its restoration elsewhere."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from ml import datasets
from ml.errors import Diverged
from ml.specs import TrainingSpec
from ml.training import divergence, loop
from ml.training.initial_model import build
from ml.training.run import Run
from tests.conftest import PLANE
from tests.ml.test_networks import GREY, data_of, spec_of

CPU = torch.device("cpu")
FORMATS = [torch.contiguous_format, torch.channels_last]


def prepare(document: dict[str, Any]) -> Run:
    spec = TrainingSpec.of(document)
    data = datasets.load(spec.dataset, spec.split, Path())
    return Run(build(spec, data), data, spec, CPU)


@pytest.mark.parametrize("saved_in", FORMATS, ids=str)
@pytest.mark.parametrize("resumed_in", FORMATS, ids=str)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_state_resumes_in_another_memory_format(
    saved_in: torch.memory_format, resumed_in: torch.memory_format, optimizer: str
) -> None:
    settings: dict[str, Any] = {"kind": optimizer} | (
        {"momentum": 0.9} if optimizer == "sgd" else {}
    )
    spec = spec_of(
        model={"kind": "cnn", "channels": [8, 8], "hidden": [], "dropout": 0.0},
        optimizer=settings,
        epochs=2,
    )
    data = data_of(GREY)

    def start(memory_format: torch.memory_format) -> Run:
        run = Run(build(spec, data), data, spec, CPU)
        run.model.to(memory_format=memory_format)
        return run

    whole = start(saved_in)
    reports = loop.train(whole)
    assert next(r for r in reports if r.level == "epoch").epoch == 1
    state = torch.utils._pytree.tree_map(
        lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf, whole.state_dict()
    )
    list(reports)
    resumed = start(resumed_in)
    resumed.load_state_dict(state)
    list(loop.train(resumed))
    for weight, expected in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-4, atol=1e-5)
    for parameter, values in resumed.optimizer.state.items():
        for value in values.values():
            assert value.dim() == 0 or value.stride() == parameter.stride()


def test_every_network_in_a_process_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    counters = torch._dynamo.utils.counters
    for job in range(10):
        # Different sizes in sequence, like the jobs of one trainer.
        document = PLANE | {"model": {"kind": "mlp", "hidden": [8 + job]}, "compile": True}
        run = prepare(document | {"epochs": 1, "batch_size": 700})
        counters.clear()
        list(loop.train(run))
        assert counters["stats"]["unique_graphs"] >= 1, job


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_validation_uses_the_precision_of_the_run(precision: str) -> None:
    run = prepare(
        PLANE
        | {"precision": precision, "epochs": 1, "split": {"validation": 0.2}, "batch_size": 99}
    )
    cast = set()
    run.model.register_forward_hook(lambda *_: cast.add(torch.is_autocast_enabled("cpu")))
    reports = list(loop.train(run))
    assert cast == {precision == "bfloat16"}
    assert reports[-1].values["validation_loss"] > 0


def test_divergence_is_diagnosed_in_the_precision_of_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cast = []
    diagnose = divergence.diagnose

    def watched(*arguments: Any) -> Any:
        cast.append(torch.is_autocast_enabled("cpu"))
        return diagnose(*arguments)

    monkeypatch.setattr(divergence, "diagnose", watched)
    run = prepare(PLANE | {"precision": "bfloat16", "optimizer": {"kind": "sgd", "lr": 1e6}})
    with pytest.raises(Diverged):
        list(loop.train(run))
    assert cast == [True]


def test_checkpoints_of_earlier_versions_have_the_patience_of_their_best_epoch() -> None:
    run = prepare(PLANE | {"epochs": 3})
    list(loop.train(run))
    state = run.state_dict()
    for name in ("patience_loss", "patience_epoch"):
        del state["progress"][name]
    resumed = prepare(PLANE | {"epochs": 3})
    resumed.load_state_dict(state)
    assert resumed.progress == run.progress


def test_order_of_an_epoch_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    randperm = torch.randperm

    def counted(*arguments: Any, **options: Any) -> torch.Tensor:
        drawn.append(randperm(*arguments, **options))
        return drawn[-1]

    run = prepare(PLANE | {"epochs": 3})
    monkeypatch.setattr(torch, "randperm", counted)
    list(loop.train(run))
    assert len(drawn) == 3
    assert not torch.equal(drawn[0], drawn[1])
