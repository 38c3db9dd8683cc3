"""Models trained in a sweep equal models trained separately."""

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from ml import datasets
from ml.datasets import Dataset
from ml.datasets.mnist import VisionSpec
from ml.datasets.splits import Rows
from ml.errors import Invalid
from ml.specs import TrainingSpec
from ml.training import loop, sweeps
from ml.training.engines.cuda_graph import Record
from ml.training.initial_model import build
from ml.training.run import Run
from ml.training.stacked_updates import Clipping
from ml.training.sweeps import Member, Step, SweepDropout, fit_together
from tests.conftest import PLANE
from tests.ml.training.recorded_graphs import RecordedGraphs

CPU = torch.device("cpu")
BASE: dict[str, Any] = PLANE | {
    "dataset": PLANE["dataset"] | {"size": 150, "noise": 0.5},
    "model": {"kind": "mlp", "hidden": [8, 6], "dropout": 0.3},
    "optimizer": {"kind": "adam", "lr": 0.01},
    "epochs": 4,
}
MEMBERS: list[dict[str, Any]] = [
    {},
    {"seed": 1},
    {"seed": 2, "optimizer": {"kind": "adam", "lr": 0.1}},
    {"optimizer": {"kind": "adam", "lr": 0.01, "weight_decay": 0.1}},
    {"seed": 3, "model": {"kind": "mlp", "hidden": [8, 6], "dropout": [0.5, 0.0]}},
    {"seed": 4, "model": {"kind": "mlp", "hidden": [8, 6]}},
    {"seed": 5, "schedule": {"kind": "one_cycle"}, "clip_grad_norm": 0.5},
    {"seed": 6, "schedule": {"kind": "step", "step_size": 1}},
    {"seed": 7, "schedule": {"kind": "cosine", "warmup": 0.3}},
]


def specs_of(*changes: dict[str, Any]) -> list[TrainingSpec]:
    return [TrainingSpec.of(BASE | change) for change in changes]


def data_of(spec: TrainingSpec) -> Dataset:
    return datasets.load(spec.dataset, spec.split, Path())


def assert_matches_separate_runs(
    specs: list[TrainingSpec], data: Dataset, record: Record | None = None
) -> None:
    for spec, member in zip(specs, fit_together(specs, data, CPU, record), strict=True):
        run = Run(build(spec, data), data, spec, CPU)
        reports = [r for r in loop.train(run) if r.level == "epoch"]
        torch.testing.assert_close(
            dict(member.model.state_dict()), dict(run.model.state_dict()), rtol=1e-3, atol=1e-4
        )
        assert member.losses == pytest.approx([r.values["train_loss"] for r in reports], rel=1e-4)


def test_sweep_matches_separate_runs() -> None:
    specs = specs_of(*MEMBERS)
    assert_matches_separate_runs(specs, data_of(specs[0]))


def test_classes_are_weighted_in_a_sweep() -> None:
    loss = {"kind": "cross_entropy", "label_smoothing": 0.1, "class_weights": "balanced"}
    dataset = {**BASE["dataset"], "target": "a + b > 1.5", "noise": 0.0}
    specs = specs_of(*({"dataset": dataset, "loss": loss, "seed": seed} for seed in range(2)))
    assert_matches_separate_runs(specs, data_of(specs[0]))


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_several_targets_in_a_sweep(loss: str) -> None:
    dataset = {**BASE["dataset"], "target": {"u": "2*a - b", "v": "3*c"}}
    specs = specs_of(*({"dataset": dataset, "loss": loss, "seed": seed} for seed in range(2)))
    assert_matches_separate_runs(specs, data_of(specs[0]))


def images(rows: int) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (rows, 28, 28), dtype=torch.uint8, generator=generator)
    train = Rows(pixels, torch.randint(0, 10, (rows,), generator=generator))
    source = VisionSpec(kind="mnist")
    return Dataset(source.signature(), source.fit(train, {}).preprocessing, train, None, None)


def test_convolutional_sweep_matches_separate_runs() -> None:
    document = {"dataset": {"kind": "mnist"}, "epochs": 2, "batch_size": 32}
    cnn = {"kind": "cnn", "channels": [3, 4], "hidden": [16]}
    specs = [TrainingSpec.of(document | {"model": cnn, "seed": s}) for s in range(3)]
    assert_matches_separate_runs(specs, images(100))


def test_diverging_model_does_not_affect_the_others() -> None:
    specs = specs_of({}, {"optimizer": {"kind": "adam", "lr": 1e6}}, {"seed": 1})
    data = data_of(specs[0])
    alone = fit_together([specs[0], specs[2]], data, CPU)
    first, wild, last = fit_together(specs, data, CPU)
    assert [first.losses, last.losses] == [
        pytest.approx(member.losses, rel=1e-5) for member in alone
    ]
    assert max(wild.losses) > 1e6 or not all(map(torch.isfinite, torch.tensor(wild.losses)))


@pytest.mark.parametrize("model", [{"kind": "sequential", "layers": ["relu"]}, "tabm", "auto"])
def test_other_networks_are_refused(model: Any) -> None:
    [spec] = specs_of({"model": model})
    with pytest.raises(Invalid, match=f"{spec.model.kind} networks are not supported") as error:
        fit_together([spec], data_of(spec), CPU)
    assert error.value.loc == (0, "model")


def test_images_are_not_changed_in_a_sweep() -> None:
    spec = TrainingSpec.of({"dataset": {"kind": "mnist"}, "augment": ["flip"]})
    with pytest.raises(Invalid, match="is not supported in a sweep") as error:
        fit_together([spec], images(20), CPU)
    assert error.value.loc == (0, "augment")


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"model": {"kind": "mlp", "hidden": [8]}}, (1, "model")),
        ({"epochs": 5}, (1, "epochs")),
        ({"batch_size": 16}, (1, "batch_size")),
        ({"optimizer": {"kind": "sgd"}}, (1, "optimizer")),
        ({"schedule": {"kind": "plateau"}}, (1, "schedule")),
        ({"patience": 3}, (1, "patience")),
        ({"average": "ema"}, (1, "average")),
        ({"max_seconds": 60.0}, (1, "max_seconds")),
    ],
)
def test_incompatible_specs_are_refused(change: dict[str, Any], loc: tuple[int, str]) -> None:
    specs = specs_of({}, change)
    with pytest.raises(Invalid) as error:
        fit_together(specs, data_of(specs[0]), CPU)
    assert error.value.loc == loc


# Enough epochs for both sizes of batches to be captured.
CAPTURED_EPOCHS = 24
RICH: list[dict[str, Any]] = [
    {"epochs": CAPTURED_EPOCHS, "seed": seed}
    | {"optimizer": {"kind": "adam", "lr": 0.01 * (1 + seed), "weight_decay": 0.01 * seed}}
    | {"clip_grad_norm": 0.5, "schedule": {"kind": "one_cycle"}}
    for seed in range(4)
]


def same_models(one: list[Member], other: list[Member]) -> bool:
    return all(
        a.losses == b.losses and all(map(torch.equal, a.model.parameters(), b.model.parameters()))
        for a, b in zip(one, other, strict=True)
    )


def eager(body: Step, warm_up: Step | None = None, undo: Step = lambda: None) -> Step:
    return body


def test_captured_sweep_matches_an_eager_sweep() -> None:
    specs = specs_of(*RICH)
    data = data_of(specs[0])
    calls: list[int] = []
    graphs = RecordedGraphs()

    def counted(body: Step, warm_up: Step | None = None, undo: Step = lambda: None) -> Step:
        replay = graphs.record(body, warm_up, undo)
        calls.append(0)
        size = len(calls) - 1

        def again() -> None:
            calls[size] += 1
            replay()

        return again

    captured = fit_together(specs, data, CPU, counted)
    assert same_models(captured, fit_together(specs, data, CPU, eager))
    # 120 rows in batches of 32: three full batches and a smaller one.
    assert calls == [3 * CAPTURED_EPOCHS, CAPTURED_EPOCHS]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_sweep_matches_an_eager_sweep() -> None:
    specs, cuda = specs_of(*RICH), torch.device("cuda", 0)
    data = data_of(specs[0])
    for one, other in zip(
        fit_together(specs, data, cuda), fit_together(specs, data, cuda, eager), strict=True
    ):
        assert one.losses == pytest.approx(other.losses, rel=1e-4)
        torch.testing.assert_close(
            dict(one.model.state_dict()), dict(other.model.state_dict()), rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("record", [None, RecordedGraphs().record], ids=["eager", "recorded"])
def test_sweep_is_freed_without_the_garbage_collector(
    monkeypatch: pytest.MonkeyPatch, record: Record | None
) -> None:
    seen: list[weakref.ref[Any]] = []

    class Watched(sweeps._Sweep):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            seen.append(weakref.ref(self))

    monkeypatch.setattr(sweeps, "_Sweep", Watched)
    specs = specs_of(*RICH)
    gc.disable()
    try:
        fit_together(specs, data_of(specs[0]), CPU, record)
        assert [sweep() for sweep in seen] == [None]
    finally:
        gc.enable()


def test_short_runs_are_not_captured() -> None:
    def never(body: Step, warm_up: Step | None = None, undo: Step = lambda: None) -> Step:
        raise AssertionError

    specs = specs_of({"epochs": 2})
    assert len(fit_together(specs, data_of(specs[0]), CPU, never)) == 1


def test_sweep_continues_eagerly_if_capture_fails(caplog: pytest.LogCaptureFixture) -> None:
    def broken(body: Step, warm_up: Step | None = None, undo: Step = lambda: None) -> Step:
        body()
        raise RuntimeError("operation not permitted when stream is capturing")

    specs = specs_of(*RICH)
    data = data_of(specs[0])
    assert same_models(
        fit_together(specs, data, CPU, broken), fit_together(specs, data, CPU, eager)
    )
    [record] = caplog.records
    assert "not permitted" in record.message


def launches_of(count: int) -> int:
    """Return the kernel launches of a step of `count` MLPs with two hidden layers, dropout,
    clipping and individual optimizers."""
    graphs = RecordedGraphs()
    document = {"dataset": {"kind": "mnist"}, "model": BASE["model"]}
    specs = [TrainingSpec.of(document | RICH[i % 4] | {"seed": i}) for i in range(count)]
    fit_together(specs, images(100), CPU, graphs.record)
    [same] = set(graphs.kernels)  # on batches of every size
    return same


def test_launches_do_not_grow_with_the_number_of_models() -> None:
    assert launches_of(4) == launches_of(64) <= 60


ADAM = {"kind": "adam", "lr": 0.01}
OPTIMIZERS: dict[str, list[dict[str, Any]]] = {
    "adam": [ADAM, ADAM | {"lr": 0.1, "beta1": 0.5, "eps": 1e-3}, ADAM | {"weight_decay": 0.1}],
    "adamw": [{"kind": "adamw"}, {"kind": "adamw", "lr": 0.05, "weight_decay": 0.5}],
    "sgd": [{"kind": "sgd"}, {"kind": "sgd", "lr": 0.1, "weight_decay": 0.1}],
    "momentum": [
        {"kind": "sgd"},
        {"kind": "sgd", "momentum": 0.9},
        {"kind": "sgd", "momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ],
    "rmsprop": [
        {"kind": "rmsprop"},
        {"kind": "rmsprop", "lr": 0.02, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1},
        {"kind": "rmsprop", "momentum": 0.8},
    ],
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_stacked_updates_match_torch(kind: str, schedule: str) -> None:
    changes = {"model": {"kind": "mlp", "hidden": [8]}, "schedule": {"kind": schedule}}
    specs = specs_of(*(changes | {"optimizer": optimizer} for optimizer in OPTIMIZERS[kind]))
    specs += specs_of(
        *(changes | {"optimizer": o, "clip_grad_norm": 0.1} for o in OPTIMIZERS[kind])
    )
    assert_matches_separate_runs(specs, data_of(specs[0]), eager)


def test_models_without_a_limit_are_not_clipped_by_an_infinite_norm() -> None:
    gradients = torch.full((2, 3), 1e30)
    Clipping(specs_of({}, {"clip_grad_norm": 1.0}), gradients)()
    assert gradients.tolist() == [[pytest.approx(1e30)] * 3, [0.0] * 3]


def test_joint_dropout_matches_the_dropout_of_each_model() -> None:
    specs = specs_of(
        {"model": {"kind": "mlp", "hidden": [400, 300], "dropout": [0.5, 0.0]}},
        {"model": {"kind": "mlp", "hidden": [400, 300], "dropout": [0.1, 0.0]}},
        {"model": {"kind": "mlp", "hidden": [400, 300]}},
    )
    dropout = SweepDropout(specs, CPU, None)
    torch.manual_seed(0)
    [mask] = masks = dropout.masks(500)
    dropout.draw(masks)
    first = mask.clone()
    dropout.draw(masks)
    assert mask.shape == (3, 500, 400)
    for part, before, p in zip(mask, first, [0.5, 0.1, 0.0], strict=True):
        assert (part == 0).double().mean().item() == pytest.approx(p, abs=0.01)
        assert part.max().item() == pytest.approx(1 / (1 - p))
        assert torch.equal(part, before) == (p == 0)


def test_bfloat16_learns_nearly_the_same() -> None:
    plain, coarse = (
        fit_together(specs, data_of(specs[0]), CPU)
        for specs in (
            specs_of(*({"precision": precision, "seed": seed} for seed in range(3)))
            for precision in ("float32", "bfloat16")
        )
    )
    for one, other in zip(plain, coarse, strict=True):
        assert one.losses != other.losses
        assert one.losses == pytest.approx(other.losses, rel=0.02)


def test_tf32_is_used_on_request() -> None:
    for precision in ("tf32", "float32"):
        specs = specs_of({"precision": precision})
        fit_together(specs, data_of(specs[0]), CPU)
        assert torch.backends.cuda.matmul.allow_tf32 == (precision == "tf32")
        assert torch.backends.cudnn.allow_tf32 == (precision == "tf32")
