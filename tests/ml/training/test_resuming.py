"""A run interrupted between any two steps and resumed elsewhere ends with the same result."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from ml import datasets
from ml.specs import TrainingSpec
from ml.training import checkpoints, loop, summary
from ml.training.engines.choose import choose
from ml.training.initial_model import build
from ml.training.loop import Report
from ml.training.run import Run
from tests.conftest import LINE, PLANE
from tests.damages import DAMAGES

CPU = torch.device("cpu")
# 100 training rows in batches of 32: four steps per epoch.
SMALL: dict[str, Any] = PLANE | {
    "dataset": PLANE["dataset"] | {"size": 150, "noise": 0.5},
    "model": {"kind": "mlp", "hidden": [8, 8], "dropout": 0.3},
    "split": {"validation": 0.2, "test": 0.133},
    "epochs": 5,
    "report_every": 3,
}
SCHEDULES = [
    {"kind": "constant"},
    {"kind": "step", "step_size": 2, "gamma": 0.5},
    {"kind": "cosine", "min_lr": 0.0001},
    {"kind": "one_cycle", "warmup": 0.4},
    {"kind": "plateau", "factor": 0.5, "patience": 0},
    {"kind": "plateau", "factor": 0.5, "patience": 0, "threshold": 0.1, "warmup": 0.6},
]


def start(document: dict[str, Any]) -> Run:
    spec = TrainingSpec.of(document)
    data = datasets.load(spec.dataset, spec.split, Path())
    return Run(build(spec, data), data, spec, CPU)


def stopped_at(run: Run, step: int, directory: Path) -> list[Report]:
    """Train `run` for `step` steps, save its state, and stop."""
    reports: list[Report] = []
    engine = choose(run)
    engine.steps_per_advance = 1
    for report in loop.fit(run, engine):
        if report is not None:
            reports.append(report)
        elif run.progress.step == step:
            checkpoints.save(directory, 1, step, run.state_dict(), keep=2)
            break
    assert run.progress.step == step
    return reports


def weights(run: Run) -> list[torch.Tensor]:
    return list(run.model.state_dict().values())


def assert_resumes(
    document: dict[str, Any], directory: Path, stops: Callable[[int], Iterable[int]]
) -> None:
    """Assert that a run ends the same if it is stopped and resumed; `stops` returns after which
    steps, given their number."""
    whole = start(document)
    expected = list(loop.train(whole))
    for step in stops(whole.progress.step):
        checkpoint = directory / str(step)
        before = stopped_at(start(document), step, checkpoint)
        torch.rand(5)
        resumed = start(document)
        state = checkpoints.load_newest(checkpoint)
        assert state is not None
        resumed.load_state_dict(state)
        assert before + list(loop.train(resumed)) == expected
        assert all(map(torch.equal, weights(resumed), weights(whole)))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s["kind"])
def test_run_resumed_at_any_step_ends_the_same(
    tmp_path: Path, schedule: dict[str, Any], optimizer: str
) -> None:
    document = SMALL | {
        "schedule": schedule,
        "optimizer": {"kind": optimizer, "lr": 0.01},
        "clip_grad_norm": 1.0,
        "keep_best": True,
        "test_every": 2,
    }
    assert_resumes(document, tmp_path, lambda steps: range(0, steps, 3))


@pytest.mark.parametrize(
    "average", [None, {"kind": "ema", "decay": 0.9}, {"kind": "swa", "start": 0.3}]
)
def test_network_of_own_layers_resumed_at_any_step_ends_the_same(
    tmp_path: Path, average: dict[str, Any] | None
) -> None:
    layers = [
        {"linear": 8, "name": "fc1"},
        {"batch_norm": {}},
        "relu",
        {"dropout": 0.3},
        {"residual": [{"linear": 8}, "gelu", "dropout"]},
    ]
    document = SMALL | {"model": {"kind": "sequential", "layers": layers}, "keep_best": True}
    document |= {"average": average}
    assert_resumes(document, tmp_path, lambda _: (0, 2, 9, 16))


TABM = {"kind": "tabm", "members": 3, "hidden": [8], "bins": 4, "embedding": 2}


@pytest.mark.parametrize("kept", ["the last", "the best"])
@pytest.mark.parametrize("model", [TABM, {"kind": "auto", "tabm": TABM}], ids=lambda m: m["kind"])
def test_fitted_network_resumed_at_any_step_ends_the_same(
    tmp_path: Path, model: dict[str, Any], kept: str
) -> None:
    document = SMALL | {"model": model, "keep_best": kept == "the best", "patience": None}
    assert_resumes(document, tmp_path, lambda steps: (0, 2, 9, steps - 1))


@pytest.mark.parametrize(
    "model", [SMALL["model"], {"kind": "auto", "tabm": TABM}], ids=lambda m: m["kind"]
)
def test_run_of_several_targets_resumed_at_any_step_ends_the_same(
    tmp_path: Path, model: dict[str, Any]
) -> None:
    dataset = SMALL["dataset"] | {"target": {"u": "2*a - b", "v": "a*b + c"}}
    document = SMALL | {"dataset": dataset, "model": model, "keep_best": True, "patience": 3}
    assert_resumes(document, tmp_path, lambda steps: (0, 3, 9, steps - 1))


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        ({}, [0, 3, 6, 9, 12]),
        ({"keep_best": True}, [0, 3, 6, 9, 12]),
        ({"snapshot_every": 5}, [0, 5, 10, 12]),
    ],
)
def test_run_resumed_at_any_step_has_the_same_summary(
    tmp_path: Path, changes: dict[str, Any], epochs: list[int]
) -> None:
    document = LINE | {"epochs": 12, "split": {"validation": 0.2}} | changes
    whole = start(document)
    list(loop.train(whole))
    expected = summary.summarize(whole)
    assert expected.sample.fit is not None
    assert [curve.epoch for curve in expected.sample.fit.curves] == epochs
    for step in range(12):
        directory = tmp_path / str(step)
        stopped_at(start(document), step, directory)
        resumed = start(document)
        state = checkpoints.load_newest(directory)
        assert state is not None
        resumed.load_state_dict(state)
        list(loop.train(resumed))
        assert summary.summarize(resumed) == expected


@pytest.mark.parametrize(
    ("missing", "epochs"),
    [(["curves", "curve_losses"], [4]), (["curve_losses"], [0, 1, 2, 3, 4])],
)
def test_checkpoint_of_an_earlier_version_is_resumed(missing: list[str], epochs: list[int]) -> None:
    run = start(LINE | {"epochs": 4})
    list(loop.train(run))
    state = run.state_dict()
    for name in missing:
        del state[name]
    resumed = start(LINE | {"epochs": 4})
    resumed.load_state_dict(state)
    fit = summary.summarize(resumed).sample.fit
    assert fit is not None
    assert [curve.epoch for curve in fit.curves] == epochs
    assert [curve.loss is None for curve in fit.curves] == [True] * (len(epochs) - 1) + [False]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s["kind"])
def test_learning_rate_follows_its_schedule(schedule: dict[str, Any]) -> None:
    run = start(SMALL | {"schedule": schedule, "optimizer": {"kind": "sgd", "lr": 0.1}})
    rates = [r.values["lr"] for r in loop.train(run) if r.level == "epoch"]
    match schedule["kind"]:
        case "constant":
            assert rates == [0.1] * 5
        case "step":
            assert rates == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025])
        case "cosine":
            assert rates == sorted(rates, reverse=True)
            assert 0.0001 < rates[-1] < 0.01
        case "one_cycle":
            assert max(rates) <= 0.1
            assert rates.index(max(rates)) == 1
            assert rates[-1] < 1e-4
        case "plateau":
            assert rates[0] == (pytest.approx(0.1 * 4 / 13) if "warmup" in schedule else 0.1)
            assert rates[-1] <= 0.1


@pytest.mark.parametrize(("threshold", "is_lowered"), [(0.0, False), (0.1, True)])
def test_plateau_lowers_the_learning_rate(threshold: float, is_lowered: bool) -> None:
    """Every epoch the loss falls a little."""
    spec = SMALL | {
        "schedule": {"kind": "plateau", "factor": 0.5, "patience": 0, "threshold": threshold},
        "optimizer": {"kind": "sgd", "lr": 1e-6},
    }
    rates = [r.values["lr"] for r in loop.train(start(spec)) if r.level == "epoch"]
    assert (rates[-1] < rates[0]) == is_lowered


def test_early_stopping_restores_the_best_weights() -> None:
    spec = SMALL | {"epochs": 200, "patience": 3, "keep_best": True}
    spec |= {"optimizer": {"kind": "adam", "lr": 0.2}}
    run = start(spec)
    losses = [r.values["validation_loss"] for r in loop.train(run) if r.level == "epoch"]
    assert len(losses) < 200
    best = min(losses)
    assert losses.index(best) == len(losses) - 1 - 4
    assert run.validation is not None
    run.model.eval()
    with torch.no_grad():
        again = torch.nn.functional.mse_loss(
            run.model(run.validation.inputs), run.validation.targets
        )
    assert again.item() == pytest.approx(best)


def test_clipping_bounds_a_step() -> None:
    spec = SMALL | {"optimizer": {"kind": "sgd", "lr": 1.0}, "clip_grad_norm": 1e-3, "epochs": 1}
    run = start(spec)
    before = [w.clone() for w in weights(run)]
    list(loop.train(run))
    moved = torch.cat([(a - b).flatten() for a, b in zip(weights(run), before, strict=True)])
    assert 0 < moved.norm().item() <= 4 * 1e-3 * 1.001


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoints.save(tmp_path, 1, step, {"step": step}, keep=2)
    checkpoints.save(tmp_path, 2, 1, {"step": "of the next attempt"}, keep=2)
    assert [(c.attempt, c.step) for c in checkpoints.listed(tmp_path)] == [(2, 1), (1, 3)]
    assert checkpoints.load_newest(tmp_path) == {"step": "of the next attempt"}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint_falls_back_to_the_previous_one(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2):
        checkpoints.save(tmp_path, 1, step, {"step": step}, keep=2)
    newest, before = checkpoints.listed(tmp_path)
    DAMAGES[damage](newest.path)
    assert checkpoints.load_newest(tmp_path) == {"step": 1}
    if damage != "gone":
        assert "the checkpoint of step 2 is damaged" in caplog.text
        assert "continuing from the checkpoint before it, step 1" in caplog.text
    DAMAGES[damage](before.path)
    assert checkpoints.load_newest(tmp_path) is None
    assert ("starting from the beginning" in caplog.text) == (damage != "gone")
    checkpoints.save(tmp_path, 2, 3, {"step": 3}, keep=1)
    assert checkpoints.load_newest(tmp_path) == {"step": 3}


def test_checkpoints_never_execute_code(tmp_path: Path) -> None:
    import pickle

    checkpoints.save(tmp_path, 1, 1, {"code": print}, keep=2)
    with pytest.raises(pickle.UnpicklingError, match=r"[Ww]eights"):
        checkpoints.load_newest(tmp_path)


def test_partial_files_are_not_checkpoints(tmp_path: Path) -> None:
    (tmp_path / f".000001-000000000001-{'0' * 64}.pt.partial").write_bytes(b"half")
    assert checkpoints.listed(tmp_path) == []
    assert checkpoints.listed(tmp_path / "nowhere") == []
