"""All engines execute the same steps; `recorded_graphs` stands in for CUDA graphs."""

import gc
import weakref
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import datasets
from ml.errors import Diverged
from ml.models import Activation
from ml.specs import TrainingSpec
from ml.training import loop
from ml.training.batches import Placement, Resident, Stream
from ml.training.engines.base import Autograd, Engine, Passes
from ml.training.engines.choose import choose
from ml.training.engines.cuda_graph import CudaGraphEngine, Record, steps_per_call
from ml.training.engines.eager import EagerEngine
from ml.training.engines.manual_backward import manual_network
from ml.training.initial_model import build
from ml.training.loop import Report
from ml.training.run import Run
from tests.ml.test_networks import GREY, data_of, spec_of
from tests.ml.training.recorded_graphs import RecordedGraphs
from tests.ml.training.small_run import SMALL_RUN

CPU = torch.device("cpu")
# Three full steps per epoch, and one with 4 rows.
SMALL: dict[str, Any] = SMALL_RUN | {"epochs": 4, "report_every": 5}
MASKED = SMALL["dataset"] | {
    "features": SMALL["dataset"]["features"] | {"same": {"normal": [1e9, 1e-3]}},
    "standardize": True,
}
TARGETS = SMALL["dataset"] | {"target": {"u": "2*a - b", "v": "100*c", "w": "a*b"}}
CLASSES = {
    "kind": "synthetic",
    "features": {name: {"uniform": [-1, 1]} for name in "ab"},
    "target": "a**2 + b**2 < 1",
    "size": 150,
}
CHAINS: list[list[Any]] = [
    ["flatten", {"linear": 8}, "relu", {"dropout": 0.3}, {"linear": 8}, "tanh"],
    [{"linear": 8}, "relu", "dropout", {"linear": 8}, {"leaky_relu": 0.01}, "sigmoid"],
    [{"linear": 8}, {"leaky_relu": 0.3}, {"linear": 8}, {"elu": 0.5}],
    [{"linear": 8, "bias": False}, {"layer_norm": {}}, "gelu"],
    [{"batch_norm": {}}, {"linear": 8}, {"residual": [{"linear": 8}, "relu", "dropout"]}],
]
"""Layers of a user's own: the first two are run by hand."""
SOFT = {"kind": "cross_entropy", "label_smoothing": 0.1, "class_weights": "balanced"}
TABM = {"kind": "tabm", "members": 3, "hidden": [8], "bins": 4, "embedding": 2}
ENGINES = ["by hand", "streamed", "graph", "graph by hand", "graph streamed"]


def prepare(document: dict[str, Any]) -> Run:
    spec = TrainingSpec.of(document)
    data = datasets.load(spec.dataset, spec.split, Path())
    return Run(build(spec, data), data, spec, CPU)


def engine_of(run: Run, name: str, record: Record | None = None) -> Engine:
    size = run.spec.batch_size
    manual = manual_network(run) if "by hand" in name else None
    passes: Passes = manual or Autograd(run)
    if "graph" not in name:
        if name == "streamed":
            return EagerEngine(run, Stream(run.train, size, CPU), passes)
        return EagerEngine(run, Resident(run.train, size, passes.steps_ahead), passes)
    together = steps_per_call(run)
    batches = (
        Stream(run.train, size, CPU, together)
        if name == "graph streamed"
        else Resident(run.train, size, together)
    )
    record = record or RecordedGraphs().record
    return CudaGraphEngine(run, batches, passes, record, eager_steps=3)


def start(document: dict[str, Any], engine: str) -> tuple[Run, Engine]:
    run = prepare(document)
    return run, engine_of(run, engine)


def outcome(run: Run, engine: Engine | None) -> tuple[list[Report], list[torch.Tensor]]:
    reports = list(loop.train(run, engine))
    return reports, [value.clone() for value in run.model.state_dict().values()]


def assert_the_same(document: dict[str, Any], engine: str) -> None:
    expected_reports, expected = outcome(*start(document, "eager"))
    reports, weights = outcome(*start(document, engine))
    assert reports == expected_reports
    assert all(map(torch.equal, weights, expected))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        *(
            {"model": {"kind": "mlp", "hidden": [8, 8], "activation": activation}}
            for activation in get_args(Activation)
        ),
        *({"loss": loss} for loss in ("mae", "huber")),
        {"model": {"kind": "linear"}},
        *({"dataset": TARGETS, "loss": loss} for loss in ("mse", "mae", "huber")),
        {"dataset": TARGETS, "model": {"kind": "linear"}},
        *({"model": {"kind": "sequential", "layers": layers}} for layers in CHAINS),
        {"loss": {"kind": "huber", "delta": 0.3}},
        {"model": TABM},
        {"model": {"kind": "auto", "tabm": TABM}},
        {"dataset": CLASSES, "loss": "cross_entropy", "model": TABM},
        {"dataset": CLASSES, "loss": "cross_entropy"},
        {"dataset": CLASSES, "loss": SOFT},
        {"dataset": CLASSES, "loss": SOFT, "batch_size": 7},
        {"dataset": MASKED},
        {"schedule": {"kind": "one_cycle"}},
        {"schedule": {"kind": "step", "step_size": 1}},
        {"schedule": {"kind": "cosine", "warmup": 0.4}},
        {"optimizer": {"kind": "rmsprop", "momentum": 0.9, "weight_decay": 0.1}},
        {"clip_grad_norm": 0.1, "optimizer": {"kind": "sgd", "momentum": 0.9}},
        {"batch_size": 1000},
        {"batch_size": 25},
        {"report_every": 1},
        {"test_every": 2},
        {"batch_size": 3, "epochs": 2},
        {"keep_best": True, "patience": 0},
        {"average": {"kind": "ema", "decay": 0.9}},
        {
            "average": {"kind": "swa", "start": 0.3},
            "model": {"kind": "sequential", "layers": CHAINS[-1]},
        },
        {"average": {"kind": "ema"}, "model": {"kind": "sequential", "layers": CHAINS[-1]}},
    ],
    ids=str,
)
def test_all_engines_give_equal_bits(engine: str, changes: dict[str, Any]) -> None:
    assert_the_same(SMALL | changes, engine)


def test_simple_layers_are_run_by_hand() -> None:
    runs = [prepare(SMALL | {"model": {"kind": "sequential", "layers": one}}) for one in CHAINS]
    by_hand = [manual_network(run) is not None for run in runs]
    assert by_hand == [True, True, False, False, False]


OPTIMIZERS = [
    {"kind": "adam", "lr": 0.01},
    {"kind": "adamw", "lr": 0.01},
    {"kind": "rmsprop", "lr": 0.01},
    {"kind": "sgd", "lr": 0.01},
    {"kind": "sgd", "lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
]
SCHEDULES = ["constant", "step", "cosine", "one_cycle", "plateau"]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 300),
    batch_size=st.integers(1, 100),
    report_every=st.integers(1, 50),
    optimizer=st.sampled_from(OPTIMIZERS),
    schedule=st.sampled_from(SCHEDULES),
    clip=st.sampled_from([None, 0.1]),
    dropout=st.sampled_from([0.0, 0.3]),
    keep_best=st.booleans(),
    engine=st.sampled_from(["graph", "graph by hand", "graph streamed"]),
)
def test_graphs_learn_the_same_with_any_sizes(
    rows: int,
    batch_size: int,
    report_every: int,
    optimizer: dict[str, Any],
    schedule: str,
    clip: float | None,
    dropout: float,
    keep_best: bool,
    engine: str,
) -> None:
    assert_the_same(
        SMALL
        | {
            "dataset": SMALL["dataset"] | {"size": rows},
            "split": {"test": 0.0},
            "epochs": 3,
            "batch_size": batch_size,
            "report_every": report_every,
            "optimizer": optimizer,
            "schedule": {"kind": schedule},
            "clip_grad_norm": clip,
            "model": {"kind": "mlp", "hidden": [6], "dropout": dropout},
            "keep_best": keep_best,
        },
        engine,
    )


@pytest.mark.parametrize("engine", ["graph", "graph streamed"])
def test_graphs_update_batch_norm_statistics(engine: str) -> None:
    spec = spec_of(model={"kind": "torchvision", "name": "shufflenet_v2_x1_0"}, epochs=2)
    outcomes = []
    for name in ("eager", engine):
        run = Run(build(spec, data := data_of(GREY, 72)), data, spec, CPU)
        outcomes.append(outcome(run, engine_of(run, name)))
    assert outcomes[0][0] == outcomes[1][0]
    assert all(map(torch.equal, outcomes[0][1], outcomes[1][1]))


def test_manual_engine_learns_classes_like_autograd() -> None:
    spec = spec_of(epochs=2)
    outcomes = []
    for name in ("eager", "by hand", "graph by hand"):
        run = Run(build(spec, data := data_of(GREY, 100)), data, spec, CPU)
        outcomes.append(outcome(run, engine_of(run, name)))
    for reports, weights in outcomes[1:]:
        assert reports == outcomes[0][0]
        assert all(map(torch.equal, weights, outcomes[0][1]))


def test_second_job_in_a_process_learns_the_same() -> None:
    outcomes = [outcome(*start(SMALL, "graph by hand")) for _ in range(2)]
    assert outcomes[0][0] == outcomes[1][0]
    assert all(map(torch.equal, outcomes[0][1], outcomes[1][1]))


@pytest.mark.parametrize("step", [1, 4, 5, 8])
@pytest.mark.parametrize("engine", ["eager", *ENGINES])
def test_every_engine_resumes_within_an_epoch(engine: str, step: int) -> None:
    document = SMALL | {
        "batch_size": 7,
        "report_every": 3,
        "average": {"kind": "ema", "decay": 0.9},
    }
    _, expected = outcome(*start(document, engine))
    halted, its_engine = start(document, engine)
    for report in loop.fit(halted, its_engine):
        if report is None and halted.progress.step >= step:
            break
    assert 0 < halted.progress.batch < 15
    state = halted.state_dict()
    resumed = prepare(document)
    resumed.load_state_dict(state)
    _, weights = outcome(resumed, engine_of(resumed, engine))
    assert all(map(torch.equal, weights, expected))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_names_the_step_that_diverged(engine: str) -> None:
    diverging = SMALL | {"optimizer": {"kind": "sgd", "lr": 1e4}, "epochs": 50, "report_every": 1}
    outcomes = []
    for name in ("eager", engine):
        run, its_engine = start(diverging, name)
        reports = []
        with pytest.raises(Diverged) as error:
            list(map(reports.append, loop.train(run, its_engine)))
        outcomes.append((str(error.value), reports))
    assert outcomes[0] == outcomes[1]
    assert "epoch " in outcomes[0][0]


@pytest.mark.parametrize("engine", ["graph", "graph by hand"])
def test_overflowing_parameter_is_not_blamed_on_a_later_gradient(
    engine: str,
) -> None:
    # After three eager steps the update overflows although the gradient is finite.
    overflowing = SMALL | {
        "optimizer": {"kind": "sgd", "lr": 1e6, "weight_decay": 1e6},
        "model": {"kind": "linear"},
        "report_every": 1,
    }
    run, its_engine = start(overflowing, engine)
    with pytest.raises(Diverged) as error:
        outcome(run, its_engine)
    assert "the gradient of" not in str(error.value)


@pytest.mark.parametrize("engine", ["graph", "graph by hand", "graph streamed"])
@pytest.mark.parametrize("at", ["warming up", "recording"])
def test_run_continues_eagerly_if_capture_fails(
    engine: str, at: str, caplog: pytest.LogCaptureFixture
) -> None:
    document = SMALL | {"batch_size": 7}
    expected = outcome(*start(document, "eager"))
    whole = RecordedGraphs()

    def record(body: Any, warm_up: Any = None, undo: Any = lambda: None) -> Any:
        if whole.recorded < 1:  # the second capture fails, in mid-epoch
            return whole.record(body, warm_up, undo)
        warm_up()
        if at == "recording":
            undo()
        raise RuntimeError("operation not permitted when stream is capturing")

    run = prepare(document)
    its_engine = engine_of(run, engine, record)
    assert its_engine.name.endswith("+graph")
    reports, weights = outcome(run, its_engine)
    assert reports == expected[0]
    assert all(map(torch.equal, weights, expected[1]))
    assert "graph" not in its_engine.name
    assert "operation not permitted when stream is capturing" in caplog.text


def test_manual_step_launches_few_kernels() -> None:
    spec = spec_of(batch_size=8, epochs=1)  # the tutorial's network
    run = Run(build(spec, data := data_of(GREY, 192)), data, spec, CPU)
    graphs = RecordedGraphs()
    outcome(run, engine_of(run, "graph by hand", graphs.record))
    # Eight steps per launch, of 23 kernels each, nine of which run on the side stream.
    [kernels] = graphs.kernels
    assert kernels <= 8 * 24


def test_long_steps_are_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.training.engines.cuda_graph.SLOW_STEP_SECONDS", 0.0)
    graphs = RecordedGraphs()
    run = prepare(SMALL)
    its_engine = engine_of(run, "graph", graphs.record)
    outcome(run, its_engine)
    assert graphs.recorded == 0
    assert its_engine.name == "resident"


def test_steps_per_advance_is_bounded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**9))
    # The clock advances a second at each reading, so every step appears slow.
    monkeypatch.setattr(
        "ml.training.engines.cuda_graph.time.perf_counter", lambda: float(next(clock))
    )
    run, its_engine = start(SMALL | {"batch_size": 2, "report_every": 50}, "graph")
    steps = [run.progress.step for report in loop.fit(run, its_engine) if report is None]
    longest = [after - before for before, after in pairwise(steps)]
    # This takes two calls, since the first includes the capture.
    assert max(longest[:12]) <= 8
    assert set(longest[20:]) == {1}


def test_steps_per_advance_grows_if_steps_are_short() -> None:
    run, its_engine = start(SMALL | {"batch_size": 1, "epochs": 4}, "graph by hand")
    list(loop.train(run, its_engine))
    assert its_engine.steps_per_advance > 8


@pytest.mark.parametrize("engine", ["eager", *ENGINES])
def test_finished_run_is_freed(engine: str) -> None:
    gc.disable()
    try:
        run, its_engine = start(SMALL, engine)
        list(loop.train(run, its_engine))
        dead = weakref.ref(run.model)
        del run, its_engine
        assert dead() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("changes", "placement", "engine"),
    [
        ({}, None, "resident+manual"),
        ({"detect_anomaly": True}, None, "resident"),
        ({"precision": "bfloat16"}, None, "resident"),
        ({"compile": True}, None, "resident+compile"),
        ({}, "streamed", "streamed+manual"),
    ],
)
def test_engine_choice(changes: dict[str, Any], placement: Placement | None, engine: str) -> None:
    spec = TrainingSpec.of(SMALL | changes)
    data = datasets.load(spec.dataset, spec.split, Path())
    run = Run(build(spec, data), data, spec, CPU, placement)
    assert choose(run).name == engine


def test_bfloat16_learns_nearly_the_same() -> None:
    reports, weights = outcome(*start(SMALL | {"precision": "bfloat16"}, "eager"))
    like, _ = outcome(*start(SMALL, "eager"))
    assert all(weight.dtype == torch.float32 for weight in weights)
    loss, expected = reports[-1].values["train_loss"], like[-1].values["train_loss"]
    assert loss == pytest.approx(expected, rel=0.1)
    assert loss != expected


@pytest.mark.parametrize(
    ("changes", "stride"),
    [
        ({}, 8),
        ({"model": {"kind": "mlp", "hidden": [8192, 8192]}}, 1),
        ({"batch_size": 100, "model": {"kind": "mlp", "hidden": [9000], "dropout": 0.5}}, 1),
    ],
    ids=["short steps", "long steps", "much to draw"],
)
def test_short_manual_steps_are_prepared_together(changes: dict[str, Any], stride: int) -> None:
    _, engine = start(SMALL | changes, "by hand")
    assert engine.steps_per_advance == stride


@pytest.fixture(autouse=True)
def _steps_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine's steps would be too long to be worth a capture."""
    monkeypatch.setattr("ml.training.engines.cuda_graph.SLOW_STEP_SECONDS", 1e9)
