"""The CUDA graph engine learns the same weights as the eager engine."""

import statistics
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ml.datasets import Dataset, Rows
from ml.errors import Diverged
from ml.evaluation.metrics import evaluate
from ml.preprocessing import Standardize
from ml.specs import TrainingSpec
from ml.training.initial_model import build
from ml.training.run import Run
from tests.ml.training.on_gpu import (
    CAPTURED_FROM,
    CUDA,
    JOB,
    LONG,
    Trained,
    finish,
    load,
    start,
    train,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Replayed graphs, one entry per replay."""
    replayed: list[object] = []
    replay = torch.cuda.CUDAGraph.replay

    def counted(graph: torch.cuda.CUDAGraph) -> None:
        replayed.append(graph)
        replay(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", counted)
    return replayed


def assert_alike(one: Trained, other: Trained) -> None:
    torch.testing.assert_close(one.weights, other.weights, rtol=1e-3, atol=1e-4)
    assert [(r.level, r.epoch, r.step) for r in one.reports] == [
        (r.level, r.epoch, r.step) for r in other.reports
    ]
    for report, like in zip(one.reports, other.reports, strict=True):
        assert report.values == pytest.approx(like.values, rel=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": {"kind": "sgd", "lr": 0.01}},
        {"optimizer": {"kind": "sgd", "lr": 0.01, "momentum": 0.9, "nesterov": True}},
        {"optimizer": {"kind": "adamw", "lr": 0.005}},
        {"clip_grad_norm": 0.1},
        {"schedule": {"kind": "one_cycle"}},
        {"schedule": {"kind": "plateau", "patience": 1}, "split": {"validation": 0.2}},
        {"batch_size": 48},
        {"report_every": 1},
        {"report_every": 7},
        {"loss": {"kind": "huber", "delta": 0.5}},
        {"optimizer": {"kind": "rmsprop", "lr": 0.001, "momentum": 0.9}},
        {"schedule": {"kind": "cosine", "warmup": 0.2}},
        {"model": {"kind": "linear"}},
        {"average": {"kind": "ema", "decay": 0.9}, "split": {"validation": 0.2}},
        {"average": "swa", "test_every": 1},
    ],
    ids=str,
)
def test_captured_run_matches_an_eager_run(changes: dict[str, Any], replays: list[object]) -> None:
    eager = train(JOB | changes, graphs=False)
    assert eager.engine == "resident+manual"
    assert not replays
    captured = train(JOB | changes)
    assert captured.engine == "resident+manual+graph"
    assert replays
    assert_alike(captured, eager)


@pytest.mark.parametrize(("precision", "tolerance"), [("tf32", 0.01), ("bfloat16", 0.03)])
def test_captured_run_in_low_precision_learns_nearly_the_same(
    precision: str, tolerance: float, replays: list[object]
) -> None:
    exact = train(JOB, graphs=False)
    for graphs in (False, True):
        found = train(JOB | {"precision": precision}, graphs)
        assert found.losses == pytest.approx(exact.losses, rel=tolerance)
        assert all(weight.dtype == torch.float32 for weight in found.weights)
    assert replays


def test_manual_passes_match_autograd() -> None:
    by_autograd = train(JOB | {"detect_anomaly": True})
    assert by_autograd.engine == "resident"
    assert_alike(train(JOB), by_autograd)


def test_gpu_run_matches_a_cpu_run() -> None:
    on_cpu = finish(start(JOB, torch.device("cpu")))
    assert_alike(train(JOB), on_cpu)


def test_dropout_rate_is_the_same_in_a_captured_run(replays: list[object]) -> None:
    dropping = JOB | {"model": {"kind": "mlp", "hidden": [64, 64], "dropout": 0.2}}
    without = JOB | {"model": {"kind": "mlp", "hidden": [64, 64]}}
    eager, captured, undropped = (
        statistics.fmean(train(job, graphs).losses[-5:])
        for job, graphs in ((dropping, False), (dropping, True), (without, False))
    )
    assert replays
    assert captured == pytest.approx(eager, rel=0.1)
    assert captured > 1.1 * undropped


def test_dropout_is_redrawn_at_every_replay(replays: list[object]) -> None:
    model = {"kind": "mlp", "hidden": [32], "dropout": 0.5}
    standing_still = {"kind": "sgd", "lr": 1e-12}
    job = JOB | {"model": model, "optimizer": standing_still, "batch_size": 800, "epochs": 300}
    steps = [r for r in train(job | {"report_every": 1}).reports if r.level == "step"]
    losses = [report.values["loss"] for report in steps if report.step > CAPTURED_FROM]
    assert replays
    # The rows are the same at each step; without dropout the losses differ by 1e-7.
    assert statistics.stdev(losses) > 1e-3 * statistics.fmean(losses)
    assert len(set(losses)) > 0.9 * len(losses)


class Stopped(Exception):
    pass


def on_cpu(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {name: on_cpu(value) for name, value in state.items()}
    return state


@pytest.mark.parametrize("changes", [{}, {"optimizer": {"kind": "sgd", "momentum": 0.9}}], ids=str)
def test_captured_run_resumes_within_an_epoch(
    changes: dict[str, Any], replays: list[object]
) -> None:
    whole = train(LONG | changes)
    halted = start(LONG | changes)

    def stop(run: Run) -> None:
        if run.progress.step > CAPTURED_FROM + 50 and run.progress.batch:
            raise Stopped

    replays.clear()
    with pytest.raises(Stopped):
        finish(halted, between_steps=stop)
    assert replays
    assert 0 < halted.progress.batch < 500
    resumed = start(LONG | changes)
    resumed.load_state_dict(on_cpu(halted.state_dict()))
    found = finish(resumed)
    torch.testing.assert_close(found.weights, whole.weights, rtol=1e-3, atol=1e-4)
    assert found.losses == pytest.approx(whole.losses[-len(found.losses) :], rel=1e-3)


def test_best_weights_of_a_captured_run_are_kept(replays: list[object]) -> None:
    job = JOB | {"keep_best": True, "split": {"validation": 0.2}}
    best = train(job | {"optimizer": {"kind": "adam", "lr": 0.1}})
    losses = [r.values["validation_loss"] for r in best.reports if r.level == "epoch"]
    run = best.run
    assert replays
    assert run.validation is not None
    figures = evaluate(run.model, run.validation, run.signature, run.spec.loss.measure)
    assert figures["loss"] == pytest.approx(min(losses), rel=1e-5)
    assert losses[-1] != min(losses)


def test_immediate_divergence_gives_the_same_error_as_eager() -> None:
    exploding = JOB | {"model": {"kind": "linear"}, "optimizer": {"kind": "sgd", "lr": 1e5}}
    messages = []
    for graphs in (False, True):
        with pytest.raises(Diverged) as error:
            train(exploding, graphs)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_divergence_in_a_replay_names_its_step(replays: list[object]) -> None:
    spoilt: list[str] = []

    def spoil(run: Run) -> None:
        if not spoilt and run.progress.step > CAPTURED_FROM + 50 and run.progress.batch:
            spoilt.append(f"epoch {run.progress.epoch}, step {run.progress.step + 1}")
            with torch.no_grad():
                for parameter in run.model.parameters():
                    parameter.fill_(1e30)

    with pytest.raises(Diverged) as error:
        finish(start(LONG), between_steps=spoil)
    assert replays
    assert spoilt[0] in str(error.value)


def test_second_job_in_a_process_learns_the_same(replays: list[object]) -> None:
    second = JOB | {"seed": 1, "model": {"kind": "mlp", "hidden": [48], "activation": "tanh"}}
    alone = train(second, graphs=False)
    train(JOB | {"precision": "tf32"})
    of_the_first = len(replays)
    assert_alike(train(second), alone)
    assert len(replays) > of_the_first > 0


class Peeking(nn.Module):
    """Copies a number to the host, which a capture does not allow."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * (1.0 if inputs.isfinite().all().item() else 0.0)


def refuse(*args: object, **kwargs: object) -> None:
    raise RuntimeError("no graph is captured today")


def refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "CUDAGraph", refuse)


def peeking(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.model.get_submodule("network").append(Peeking())


@pytest.mark.parametrize("prevent", [refused, peeking])
def test_run_continues_eagerly_if_capture_fails(
    prevent: Callable[[Run, pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    replays: list[object],
) -> None:
    eager = train(JOB, graphs=False)
    run = start(JOB)
    prevent(run, monkeypatch)
    found = finish(run)
    assert "graph" not in found.engine
    assert not replays
    assert_alike(found, eager)
    assert [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize(
    "model", [{"kind": "cnn"}, {"kind": "torchvision", "name": "resnet18"}], ids=["cnn", "resnet18"]
)
def test_images_are_learned_in_every_precision(
    model: dict[str, Any], precision: str, replays: list[object]
) -> None:
    spec = TrainingSpec.of(
        {"dataset": {"kind": "mnist"}, "model": model, "precision": precision, "epochs": 80}
    )
    labels = torch.arange(200) % 10
    images = torch.randint(0, 100, (200, 28, 28), dtype=torch.uint8)
    # Each class is bright in its own image rows.
    for image, label in zip(images, labels.tolist(), strict=True):
        image[2 * label : 2 * label + 4] += 150
    normalisation = Standardize(torch.tensor(0.3), torch.tensor(0.3), unit=255.0)
    data = Dataset(spec.dataset.signature(), normalisation, Rows(images, labels), None, None)
    run = Run(build(spec, data), data, spec, CUDA)
    losses = finish(run).losses
    assert replays
    assert losses[-1] < 0.2 * losses[0]


def test_training_does_not_move_the_data_set() -> None:
    spec, data = load(JOB)
    run = Run(build(spec, data), data, spec, CUDA)
    finish(run)
    assert run.train.inputs.device == CUDA
    assert data.train.inputs.device.type == "cpu"
