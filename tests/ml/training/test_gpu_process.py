"""Effects of jobs on a GPU on later jobs, and their sharing of the machine with the service."""

import multiprocessing
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu.jobs import Asker, Stopped, level
from ml import datasets, devices
from ml.artifacts import load_manifest, load_model, save_model
from ml.evaluation.evaluate import evaluate_split, evaluation_split
from ml.evaluation.metrics import evaluate
from ml.evaluation.schemas import Regression
from ml.specs import TrainingSpec
from ml.training.initial_model import build
from ml.training.run import Run
from ml.training.sweeps import fit_together
from tests.conftest import PLANE
from tests.ml.shelf import Shelf
from tests.ml.training.on_gpu import CUDA, JOB, finish, start, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
needs_two = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="no second GPU")
MIB = 2**20


def test_auto_selects_the_gpu() -> None:
    assert devices.resolve("auto") == CUDA


def test_streamed_rows_match_resident_rows() -> None:
    resident = train(JOB, graphs=False)
    children: list[object] = []
    run = start(JOB, placement="streamed")
    found = finish(
        run, between_steps=lambda run: children.extend(multiprocessing.active_children())
    )
    assert found.engine.startswith("streamed")
    assert run.train.inputs.device.type == "cpu"
    assert not children
    torch.testing.assert_close(found.weights, resident.weights, rtol=1e-3, atol=1e-4)


@needs_two
@pytest.mark.parametrize("placement", ["resident", "streamed"])
def test_job_on_the_second_gpu_does_not_use_the_first(placement: str) -> None:
    second = torch.device("cuda", 1)
    found = finish(start(JOB, second, placement))
    assert found.engine.startswith(placement)
    assert torch.cuda.memory_reserved(0) == 0
    torch.testing.assert_close(found.weights, train(JOB).weights, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler")
def test_compiled_run_is_captured_and_learns_the_same() -> None:
    compiled = train(JOB | {"compile": True})
    assert "compile" in compiled.engine
    torch.testing.assert_close(
        compiled.weights, train(JOB, graphs=False).weights, rtol=1e-3, atol=1e-4
    )


def test_small_job_runs_after_an_out_of_memory_error() -> None:
    expected = train(JOB).weights
    devices.release_memory(CUDA)
    before = torch.cuda.memory_allocated(CUDA)
    total = torch.cuda.get_device_properties(CUDA).total_memory
    devices.use(CUDA, min(1.0, 2 * 2**30 / total))
    large = JOB | {"model": {"kind": "mlp", "hidden": [8_000] * 4}}
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        train(large)
    assert devices.is_out_of_memory(caught.value)
    del caught
    devices.release_memory(CUDA)
    assert torch.cuda.memory_allocated(CUDA) - before < MIB
    assert devices.is_sound(CUDA)
    small = train(JOB)
    assert small.engine == "resident+manual+graph"
    torch.testing.assert_close(small.weights, expected, rtol=1e-3, atol=1e-4)


def test_20_jobs_leak_no_memory() -> None:
    levels = []
    for number in range(20):
        model = {"kind": "mlp", "hidden": [[64], [512, 256], [300, 200]][number % 3]}
        train(JOB | {"model": model, "epochs": 12})
        devices.release_memory(CUDA)
        levels.append(level(CUDA))
    assert levels[-1]["allocated"] - levels[2]["allocated"] < 1
    assert levels[-1]["reserved"] - levels[2]["reserved"] < 64


def test_state_is_available_quickly_with_long_steps() -> None:
    model = {"kind": "mlp", "hidden": [2048] * 4}
    size = {"size": 16_384, "noise": 0.5}
    job = JOB | {"dataset": PLANE["dataset"] | size, "model": model, "batch_size": 8192}
    asker = Asker(steps=260, limit=30.0)
    asker.ask_every(0.3)
    began = time.monotonic()
    with pytest.raises(Stopped):
        finish(start(job | {"epochs": 1000}), between_steps=asker)
    asker.stop()
    # This includes the copy of the state and the first capture.
    assert max(asker.waits) < 1.0
    assert asker.longest < 1.0
    assert time.monotonic() - began < 60


def test_float32_is_exact_after_runs_in_other_precisions() -> None:
    exact = train(JOB).weights
    train(JOB | {"precision": "tf32"})
    train(JOB | {"precision": "bfloat16"})
    torch.testing.assert_close(train(JOB).weights, exact, rtol=1e-4, atol=1e-5)
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


def images(epochs: int) -> tuple[TrainingSpec, datasets.Dataset]:
    from benchmarks.gpu.fits import digits

    spec = TrainingSpec.of(
        {
            "dataset": {"kind": "mnist"},
            "model": {"kind": "cnn"},
            "precision": "tf32",
            "epochs": epochs,
            "optimizer": {"kind": "adam"},
        }
    )
    return spec, digits(256)


@pytest.mark.parametrize(("source", "target"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_convolutional_state_moves_to_another_device(source: str, target: str) -> None:
    spec, data = images(epochs=2)
    saved = Run(build(spec, data), data, spec, devices.resolve(source))
    finish(saved)
    state: dict[str, Any] = saved.state_dict()
    spec, data = images(epochs=4)
    moved = Run(build(spec, data), data, spec, devices.resolve(target))
    moved.load_state_dict(state)
    for number, parameter in enumerate(moved.model.parameters()):
        for name in ("exp_avg", "exp_avg_sq"):
            value = moved.optimizer.state[parameter][name]
            assert value.stride() == parameter.stride()
            torch.testing.assert_close(value.cpu(), state["optimizer"][number][name].cpu())
    assert len(finish(moved).losses) == 2


def test_model_trained_on_the_gpu_is_saved_and_loaded(tmp_path: Path) -> None:
    found = train(JOB)
    run = found.run
    assert run.data.test is not None
    rows, loss_of = run.data.test, run.spec.loss.measure
    figures = evaluate(run.model, rows.to(CUDA), run.signature, loss_of)
    save_model(tmp_path / "model", run.model, run.spec, run.signature, figures, "", CUDA)
    loaded = load_model(tmp_path / "model", load_manifest(tmp_path / "model"))
    again = evaluate(loaded, rows, run.signature, loss_of)
    assert again == pytest.approx(figures, rel=1e-4)


def test_sweep_matches_separate_runs() -> None:
    specs = [
        TrainingSpec.of(
            PLANE | {"model": {"kind": "mlp", "hidden": [8]}, "epochs": 3, "seed": seed}
        )
        for seed in range(4)
    ]
    data = datasets.load(specs[0].dataset, specs[0].split, Path())
    members = fit_together(specs, data, CUDA)
    for spec, member in zip(specs, members, strict=True):
        run = Run(build(spec, data), data, spec, torch.device("cpu"))
        finish(run)
        torch.testing.assert_close(
            [p.detach() for p in member.model.parameters()],
            [p.detach() for p in run.model.parameters()],
            rtol=1e-3,
            atol=1e-4,
        )


@pytest.mark.parametrize("embedding", [None, 4])
def test_tables_are_learned_as_on_the_cpu(tmp_path: Path, embedding: int | None) -> None:
    shelf = Shelf(tmp_path)
    rows = "\n".join(f"{1.7e9 + i},{'abc'[i % 3]},{i if i % 5 else ''},{3 * i}" for i in range(90))
    spec = shelf.spec(
        {"id": shelf.put(f"time,kind,gappy,y\n{rows}"), "target": "y"},
        model={"kind": "mlp", "hidden": [16], "embedding": embedding},
        epochs=5,
    )
    data = shelf.load(spec)
    split, judged = evaluation_split(data)
    errors = []
    for device in (torch.device("cpu"), CUDA):
        run = Run(build(spec, data), data, spec, device)
        finish(run)
        found = evaluate_split(
            run.model, judged.to(device), data.signature, spec.loss.measure, split
        ).evaluation
        assert isinstance(found, Regression)
        errors.append(found.mae)
    assert errors[1] == pytest.approx(errors[0], rel=1e-3)


def test_threads_end_with_their_job() -> None:
    before = threading.active_count()
    finish(start(JOB, placement="streamed"))
    train(JOB)
    assert threading.active_count() <= before
