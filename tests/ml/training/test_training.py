"""Fit, evaluate, save, load, predict; determinism; divergence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ml import datasets, integrity
from ml.artifacts import Manifest, load_manifest, load_model, save_model
from ml.datasets import Dataset, Rows
from ml.errors import Damaged, Diverged, Invalid
from ml.evaluation.metrics import evaluate, outputs
from ml.inference.model import Model
from ml.losses import LOSSES
from ml.models import MLPSpec
from ml.preprocessing import Standardize, moments
from ml.signature import Features, Signature, Value
from ml.specs import TrainingSpec
from ml.training import loop
from ml.training.divergence import first_bad_tensor
from ml.training.initial_model import build
from ml.training.loop import Report
from ml.training.run import Run
from tests.conftest import LINE, PLANE

CPU = torch.device("cpu")


def trained(
    root: Path, document: dict[str, Any]
) -> tuple[TrainingSpec, Dataset, nn.Module, list[Report]]:
    spec = TrainingSpec.of(document)
    data = datasets.load(spec.dataset, spec.split, root)
    model = build(spec, data)
    return spec, data, model, list(loop.train(Run(model, data, spec, CPU)))


def saved(root: Path, document: dict[str, Any]) -> tuple[Manifest, nn.Module, Dataset]:
    spec, data, model, _ = trained(root, document)
    fingerprint = data.fingerprint
    manifest = save_model(root / "model", model, spec, data.signature, {}, fingerprint, CPU)
    return manifest, model, data


def test_tutorial_line(tmp_path: Path) -> None:
    manifest, _, _ = saved(tmp_path, LINE)
    assert manifest.linear is not None
    assert manifest.linear.weights["x"] == pytest.approx(3, abs=0.15)
    assert manifest.linear.bias == pytest.approx(2, abs=0.8)


def test_reports_arrive_at_their_steps(tmp_path: Path) -> None:
    spec = PLANE | {"epochs": 2, "report_every": 10, "split": {"validation": 0.1}}
    _, _, _, reports = trained(tmp_path, spec)
    # 700 training rows in batches of 32: 22 steps per epoch, the last with 28 rows.
    assert [(r.level, r.epoch, r.step) for r in reports] == [
        ("step", 1, 1),
        ("step", 1, 11),
        ("step", 1, 21),
        ("epoch", 1, 22),
        ("step", 2, 23),
        ("step", 2, 33),
        ("step", 2, 43),
        ("epoch", 2, 44),
    ]
    steps = [report.values for report in reports if report.level == "step"]
    assert [values["rows_seen"] for values in steps] == [32, 352, 672] * 2
    assert {values["rows"] for values in steps} == {700}
    assert [values["percent"] for values in steps[:2]] == pytest.approx([32 / 7, 352 / 7])
    assert set(reports[3].values) == {
        "train_loss",
        "lr",
        "validation_loss",
        "validation_mse",
        "validation_mae",
        "validation_rmse",
        "validation_r2",
    }
    assert reports[-1].values["validation_loss"] < reports[3].values["validation_loss"]


def test_last_batch_reports_all_rows(tmp_path: Path) -> None:
    _, _, _, reports = trained(tmp_path, PLANE | {"epochs": 1, "report_every": 8, "batch_size": 90})
    seen = [r.values["rows_seen"] for r in reports if r.level == "step"]
    # 800 rows in nine batches, the last with 80.
    assert seen == [90, 800]


@pytest.mark.parametrize(("report_every", "steps"), [(1, [1, 2, 3]), (2, []), (100, [])])
def test_epochs_of_one_batch_are_reported_as_epochs(
    tmp_path: Path, report_every: int, steps: list[int]
) -> None:
    document = PLANE | {"epochs": 3, "batch_size": 800, "report_every": report_every}
    _, _, _, reports = trained(tmp_path, document)
    assert [r.step for r in reports if r.level == "step"] == steps


def test_training_matches_a_loop_written_by_hand(tmp_path: Path) -> None:
    spec, data, model, _ = trained(tmp_path, PLANE | {"epochs": 2})
    torch.manual_seed(spec.seed)
    by_hand = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.01)
    random = torch.Generator().manual_seed(spec.seed)
    for _ in range(2):
        for index in torch.randperm(800, generator=random).split(32):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(
                by_hand(data.train.inputs[index]), data.train.targets[index]
            )
            loss.backward()
            optimizer.step()
    network = model.get_submodule("network.1")
    assert isinstance(network, nn.Linear)
    torch.testing.assert_close(network.weight, by_hand.weight)
    torch.testing.assert_close(network.bias, by_hand.bias)


def test_seed_determines_all_bits(tmp_path: Path) -> None:
    spec = PLANE | {"epochs": 2, "model": {"kind": "mlp", "hidden": [16], "dropout": 0.3}}
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, _, _ = saved(tmp_path / "one", spec)
    torch.rand(7)
    two, _, _ = saved(tmp_path / "two", spec)
    assert one.weights_sha256 == two.weights_sha256
    (tmp_path / "three").mkdir()
    other, _, _ = saved(tmp_path / "three", spec | {"seed": 1})
    assert other.weights_sha256 != one.weights_sha256


def test_saved_model_predicts_like_the_trained_one(tmp_path: Path) -> None:
    data_spec = PLANE["dataset"] | {"standardize": True}
    _, model, data = saved(tmp_path, PLANE | {"dataset": data_spec, "epochs": 3})
    assert data.test is not None
    loaded = Model.load(tmp_path / "model")
    expected = outputs(model, data.test.inputs).squeeze(1).tolist()
    answers = loaded.to_json(loaded.predict(loaded.rows(data.test.inputs.tolist())))
    assert [answer["value"] for answer in answers] == expected  # type: ignore[typeddict-item]


def test_artifact_is_two_data_files_and_their_checksums(tmp_path: Path) -> None:
    manifest, _, _ = saved(tmp_path, LINE | {"epochs": 1})
    directory = tmp_path / "model"
    names = ["checksums.json", "model.json", "model.safetensors"]
    assert sorted(path.name for path in directory.iterdir()) == names
    assert load_manifest(directory) == manifest
    assert json.loads((directory / "model.json").read_text())["format"] == 2
    integrity.check(directory)


def test_mismatched_weights_are_refused(tmp_path: Path) -> None:
    manifest, _, _ = saved(tmp_path, LINE | {"epochs": 1})
    spec = manifest.spec | {"model": MLPSpec().model_dump()}
    with pytest.raises(Damaged, match=r"does not describe the weights: .*network"):
        load_model(tmp_path / "model", manifest.model_copy(update={"spec": spec}))


def test_classification_is_evaluated_by_accuracy() -> None:
    signature = TrainingSpec.of({"dataset": {"kind": "mnist"}}).dataset.signature()
    logits = torch.eye(10)[[3, 4, 5, 5]]
    rows = Rows(logits, torch.tensor([3, 4, 5, 6]))
    figures = evaluate(nn.Identity(), rows, signature, LOSSES["cross_entropy"])
    assert figures["accuracy"] == 0.75


def test_regression_is_evaluated_by_mse_mae_and_r2() -> None:
    signature = Signature(inputs=Features(names=["x"]), output=Value(name="y"))
    rows = Rows(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[1.0], [2.0], [6.0]]))
    figures = evaluate(nn.Identity(), rows, signature, LOSSES["mse"])
    # The targets' mean is 3, their squared deviations 4 + 1 + 9.
    expected = {"loss": 3.0, "mse": 3.0, "mae": 1.0, "rmse": 3**0.5, "r2": 1 - 9 / 14}
    assert figures == pytest.approx(expected)


def test_standardizing_fits_mean_and_deviation_and_keeps_constants() -> None:
    inputs = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert Standardize(*moments(inputs))(inputs).tolist() == [[-1.0, 0.0], [1.0, 0.0]]


@pytest.mark.parametrize("min_delta", [0.0, 1.0])
@pytest.mark.parametrize("split", [{"validation": 0.1}, {}], ids=["validation", "train"])
def test_best_epoch_has_the_lowest_loss_whatever_counts_for_patience(
    tmp_path: Path, split: dict[str, Any], min_delta: float
) -> None:
    document = PLANE | {"epochs": 6, "optimizer": {"kind": "sgd", "lr": 0.3}, "split": split}
    watched = "validation_loss" if split else "train_loss"
    data_spec = PLANE["dataset"] | {"noise": 0.5}
    spec, data, _, everything = trained(tmp_path, document | {"dataset": data_spec})
    losses = [report.values[watched] for report in everything if report.level == "epoch"]
    best = losses.index(min(losses)) + 1
    spec = TrainingSpec.of(
        spec.model_dump(mode="json") | {"keep_best": True, "min_delta": min_delta}
    )
    run = Run(build(spec, data), data, spec, CPU)
    reports = list(loop.train(run))
    so_far = [losses.index(min(losses[: epoch + 1])) + 1 for epoch in range(6)]
    assert [report.best_epoch for report in reports if report.level == "epoch"] == so_far
    assert (run.best_epoch, run.kept_epoch) == (best, best)
    if data.validation is not None:
        figures = evaluate(run.model, data.validation, data.signature, LOSSES["mse"])
        assert figures["loss"] == min(losses)


def test_patience_counts_improvements_of_at_least_min_delta(tmp_path: Path) -> None:
    _, _, _, reports = trained(tmp_path, PLANE | {"patience": 2, "min_delta": 100.0})
    epochs = [report for report in reports if report.level == "epoch"]
    # The first counts: before it there was no loss.
    assert [report.epoch for report in epochs] == [1, 2, 3, 4]
    losses = [report.values["train_loss"] for report in epochs]
    assert losses == sorted(losses, reverse=True)
    assert epochs[-1].best_epoch == 4


def test_numbers_far_from_0_are_learned_and_predicted_where_standardised(tmp_path: Path) -> None:
    features = {"far": {"uniform": [1e9, 1e9 + 2]}, "near": {"uniform": [0, 1]}}
    document = PLANE | {
        "dataset": {
            "kind": "synthetic",
            "features": features,
            "target": "3*(far - 1e9) + near",
            "standardize": True,
        },
        "optimizer": {"kind": "adam", "lr": 0.05},
    }
    manifest, _, data = saved(tmp_path, document)
    assert data.warnings == []
    model = Model.load(tmp_path / "model")
    points = [[1e9 + 0.5, 0.5], [1e9 + 1.5, 0.5]]
    for inputs in (model.rows(points), model.array(np.array(points))):
        answers = model.to_json(model.predict(inputs))
        values = [answer["value"] for answer in answers]  # type: ignore[typeddict-item]
        assert values == pytest.approx([2, 5], abs=0.01)
    assert manifest.linear is not None
    assert manifest.linear.weights == pytest.approx({"far": 3, "near": 1}, abs=0.01)
    with pytest.raises(Invalid, match=r"finite number of at most 3\.4e"):
        model.rows([[1e39, 0.5]])
    with pytest.raises(Invalid, match="not finite"):
        model.array(np.array([[1e39, 0.5]]))


def test_test_split_is_disjoint_and_independent_of_the_run_seed(
    tmp_path: Path,
) -> None:
    spec = TrainingSpec.of(PLANE | {"split": {"validation": 0.1, "test": 0.3}})
    data = datasets.load(spec.dataset, spec.split, tmp_path)
    assert data.validation is not None
    assert data.test is not None
    splits = (data.train, data.validation, data.test)
    assert [len(rows) for rows in splits] == [600, 100, 300]
    rows = torch.cat([rows.inputs for rows in splits])
    assert len(rows.unique(dim=0)) == 1000
    again = datasets.load(spec.dataset, spec.split, tmp_path)
    assert again.fingerprint == data.fingerprint


def test_divergence_names_epoch_step_and_tensor(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"became (inf|nan) at epoch 1, step \d+; the first tensor"):
        trained(tmp_path, PLANE | {"optimizer": {"kind": "sgd", "lr": 1e6}})


def test_weights_lost_in_the_last_update_are_a_divergence(tmp_path: Path) -> None:
    """No loss is computed after it."""
    features = {name: {"uniform": [1e17, 2e17]} for name in "abc"}
    document = PLANE | {
        "dataset": PLANE["dataset"] | {"features": features},
        "optimizer": {"kind": "sgd", "lr": 1e6},
        "epochs": 1,
        "batch_size": 800,
    }
    with pytest.raises(Diverged, match=r"1\.weight is not finite after the last update of epoch 1"):
        trained(tmp_path, document)


def test_anomaly_detection_names_the_forward_call(tmp_path: Path) -> None:
    spec = PLANE | {
        "model": {"kind": "mlp", "hidden": [32, 32]},
        "optimizer": {"kind": "sgd", "lr": 1e6},
        "detect_anomaly": True,
    }
    with pytest.raises(Diverged, match=r"the output of network\.5 \(Linear\)") as error:
        trained(tmp_path, spec)
    lines = (error.value.forward_call or "").splitlines()
    assert lines[0] == "Forward call (most recent call last):"
    assert lines[-1].strip() == "return F.linear(input, self.weight, self.bias)"
    # From the network on, without the machine's folders.
    assert lines[1].startswith('  File "torch/nn/modules/container.py", line ')
    assert not any("training" in line or "_call_impl" in line for line in lines)


def test_anomaly_detection_names_the_loss(tmp_path: Path) -> None:
    spec = PLANE | {"optimizer": {"kind": "sgd", "lr": 1e5}, "detect_anomaly": True}
    with pytest.raises(Diverged, match="is the loss itself") as error:
        trained(tmp_path, spec)
    assert "mse_loss" in (error.value.forward_call or "")


def test_anomaly_detection_shows_the_call_that_used_a_bad_parameter(tmp_path: Path) -> None:
    features = {name: {"uniform": [1e17, 2e17]} for name in "abc"}
    spec = PLANE | {
        "dataset": PLANE["dataset"] | {"features": features},
        "optimizer": {"kind": "sgd", "lr": 1e6},
        "batch_size": 400,
        "detect_anomaly": True,
    }
    with pytest.raises(Diverged, match=r"the parameter network\.1\.weight after the") as error:
        trained(tmp_path, spec)
    assert "F.linear(input" in (error.value.forward_call or "")


class Root(nn.Module):
    """Its gradient at 0 is infinite, and NaN after a product with 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        root = x.abs().sqrt()
        return root * 0


@pytest.mark.parametrize("detect_anomaly", [True, False])
def test_anomaly_detection_names_the_layer_whose_gradient_is_nan(
    tmp_path: Path, detect_anomaly: bool
) -> None:
    document = PLANE | {"detect_anomaly": detect_anomaly, "model": "mlp", "epochs": 1}
    spec = TrainingSpec.of(document)
    data = datasets.load(spec.dataset, spec.split, tmp_path)
    model = build(spec, data)
    network = model.get_submodule("network")
    network[2] = Root()
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].bias.zero_()
    says = r"epoch 1, step 1, in the backward pass of network\.2 \(Root\)"
    with pytest.raises(Diverged, match=says if detect_anomaly else "finite") as error:
        list(loop.train(Run(model, data, spec, CPU)))
    lines = (error.value.forward_call or "").splitlines()
    assert [line.strip() for line in lines[-1:]] == ["root = x.abs().sqrt()"] * detect_anomaly


class Log(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.log()


def test_first_bad_tensor_in_order_of_computation() -> None:
    model = nn.Sequential(nn.Linear(1, 1), Log(), nn.Linear(1, 1))
    with torch.no_grad():
        model[0].weight.fill_(-1.0)
        model[0].bias.fill_(0.0)
    good, bad = torch.ones(1, 1), torch.full((1, 1), float("nan"))

    def first_bad(inputs: torch.Tensor) -> str:
        found = first_bad_tensor(model, inputs)
        assert found is not None
        return found.name

    assert first_bad(bad) == "the inputs of the batch"
    assert first_bad(good) == "the output of 1 (Log)"
    with torch.no_grad():
        model[2].bias.fill_(float("inf"))
    assert first_bad(good).startswith("the parameter 2.bias")
    model[2].bias.grad = torch.tensor([float("nan")])
    assert first_bad(good).startswith("the gradient of 2.bias")


def test_undefined_formula_value_names_the_row(tmp_path: Path) -> None:
    document = LINE | {"dataset": LINE["dataset"] | {"target": "log(x)", "noise": 0.0}}
    with pytest.raises(Invalid, match=r"at x=0 \(row 0; 1 such rows of 100\)"):
        trained(tmp_path, document)


def test_non_finite_prediction_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, PLANE | {"epochs": 1})
    model = Model.load(tmp_path / "model")
    rows = np.array([[1, 1, 1], [np.inf] * 3], dtype=np.float32)
    with pytest.raises(Invalid, match="not finite") as caught:
        model.predict(rows).check()
    assert caught.value.loc == (1,)
