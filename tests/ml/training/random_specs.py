"""Random valid specs on tiny data, each tried from its submission to a prediction."""

import shutil
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from hypothesis import strategies as st

from ml import datasets
from ml.artifacts import save_model
from ml.errors import Diverged, Invalid
from ml.inference.model import Model
from ml.losses import LOSSES_FOR
from ml.models import Activation
from ml.specs import Precision, TrainingSpec
from ml.training import feasibility, loop, summary
from ml.training.cross_validation import FoldResults
from ml.training.footprint import footprint
from ml.training.initial_model import build
from ml.training.run import Run
from tests.ml.ingest.npz.files import npz
from tests.ml.shelf import CPU, Shelf

Outcome = Literal["refused", "invalid", "diverged", "trained"]
"""`refused` at submission; `invalid` when its data was loaded."""

FORMULAS = [
    "a",
    "3*a + 2",
    "a**2",
    "sin(a)",
    "5",
    "exp(a)",
    "1e30*a",
    "sqrt(abs(a))",
    "log(a)",
]
NETWORKS = ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x1_0"]


def shelf(root: Path) -> Shelf:
    """Return tiny uploads: four tables, and images in grey and in colour."""
    root.mkdir(exist_ok=True)
    filled = Shelf(root)
    names = ["one", "two", "three"]
    days = [f"2024-0{1 + n % 3}-0{1 + n % 7}" for n in range(12)]
    lines = [
        f"{n * 0.5},{names[n % 3]},{'' if n % 4 == 1 else n * n},{n % 2 == 0},{days[n]},p{n // 3}"
        for n in range(12)
    ]
    filled.put("\n".join(["x,word,gap,yes,day,who", *lines]), target="gap")
    filled.put("\n".join(["x,word,gap,yes,day,who", *lines]), target="word")
    filled.put("x,y,part\n1,2,train\n1,3,train\n1e9,4,test\n1,5,validation\n", target="y")
    random = np.random.default_rng(0)
    for shape in ((9, 8, 8), (10, 33, 33, 3)):
        images = random.integers(0, 256, shape, np.uint8)
        filled.put(npz(x_train=images, y_train=np.arange(len(images)) % 3))
    # Enough rows for trees.
    more = [f"{n * n % 37},{names[n * n % 3]},{'' if n % 4 else n},{n % 7}" for n in range(60)]
    filled.put("\n".join(["x,word,gap,y", *more]), target="y")
    # Trees are grown from 20 rows, and some rows are far from all others.
    far = [
        f"{_small(n, far=24)},{_small(n, far=27)},{names[n % 3]},"
        f"{'train' if n < 20 else ('test', 'validation')[n % 2]}"
        for n in range(30)
    ]
    filled.put("\n".join(["x,y,word,part", *far]), target="y")
    return filled


def _small(number: int, far: int) -> float:
    return 3e38 if number == far else number % 7 * 1e-6


def floats(low: float, high: float, *usual: float) -> st.SearchStrategy[float]:
    """Return numbers of a range: often the usual ones, else any, its ends included."""
    return st.sampled_from(usual) | st.sampled_from([low, high]) | st.floats(low, high)


NUMBERS = floats(-1e30, 1e30, 0.0, 1.0, -3.0, 1e9, 1e9 + 1, 1e-30)
DISTRIBUTIONS = st.one_of(
    st.tuples(NUMBERS, NUMBERS).map(lambda ends: {"linspace": [*ends]}),
    st.lists(NUMBERS, min_size=2, max_size=2, unique=True).map(
        lambda ends: {"uniform": sorted(ends)}
    ),
    st.tuples(NUMBERS, floats(0, 1e30, 1.0)).map(lambda moments: {"normal": [*moments]}),
)
SEEDS = st.sampled_from([0, 1, 2**63 - 1])
SEVERAL = st.lists(st.sampled_from(FORMULAS), min_size=1, max_size=3).map(
    lambda formulas: {f"t{number}": formula for number, formula in enumerate(formulas)}
)
SYNTHETIC = st.fixed_dictionaries(
    {
        "kind": st.just("synthetic"),
        "features": st.tuples(
            DISTRIBUTIONS, st.dictionaries(st.sampled_from("bc"), DISTRIBUTIONS, max_size=2)
        ).map(lambda drawn: {"a": drawn[0]} | drawn[1]),
        "target": st.sampled_from(FORMULAS) | SEVERAL,
    },
    optional={
        "noise": floats(0, 1e30, 0.5),
        "size": st.integers(3, 40),
        "seed": SEEDS,
        "standardize": st.booleans(),
    },
)


def upload(number: int, *targets: str | list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Return data sets of an upload with the target named at upload or one of `targets`."""
    named = {"kind": st.just("upload"), "id": st.just(f"ds_{number}")}
    optional = {"target": st.sampled_from(targets)} if targets else {}
    return st.fixed_dictionaries(named, optional=optional)


FRACTIONS = floats(0, 0.4, 0.2)
CHANCE = st.fixed_dictionaries(
    {}, optional={"validation": FRACTIONS, "test": FRACTIONS, "seed": SEEDS}
)
FOLDS = st.fixed_dictionaries(
    {"folds": st.integers(2, 4)}, optional={"test": FRACTIONS, "seed": SEEDS}
)
COLUMNS = st.sampled_from([{"group": "who"}, {"group": "word"}, {"time": "day"}, {"time": "x"}])
STRATIFIED = st.just({"stratify": True})
ANY_SPLIT = CHANCE | FOLDS
DROPOUT = floats(0, 0.999, 0.2)
ACTIVATIONS = st.sampled_from(get_args(Activation))
WIDTHS = st.integers(1, 9)
MLP = st.fixed_dictionaries(
    {"kind": st.just("mlp"), "hidden": st.lists(WIDTHS, min_size=1, max_size=3)},
    optional={"activation": ACTIVATIONS, "dropout": DROPOUT, "embedding": st.integers(1, 4)},
)
CNN = st.fixed_dictionaries(
    {"kind": st.just("cnn"), "channels": st.lists(WIDTHS, min_size=1, max_size=3)},
    optional={
        "kernel_size": st.sampled_from([1, 3, 5, 7]),
        "hidden": st.lists(WIDTHS, max_size=2),
        "activation": ACTIVATIONS,
        "dropout": DROPOUT,
    },
)
LINEAR = st.just({"kind": "linear"})
TABM = st.fixed_dictionaries(
    {
        "kind": st.just("tabm"),
        "members": st.integers(1, 3),
        "hidden": st.lists(WIDTHS, min_size=1, max_size=2),
    },
    optional={"dropout": DROPOUT, "bins": st.integers(1, 9), "embedding": st.integers(1, 4)},
)
AUTO = st.fixed_dictionaries(
    {"kind": st.just("auto"), "tabm": TABM},
    optional={"beside": st.sampled_from([[], ["linear"], ["trees"], ["trees", "linear"]])},
)
TORCHVISION = st.sampled_from(NETWORKS).map(lambda name: {"kind": "torchvision", "name": name})
OF_ROWS = st.one_of(LINEAR, MLP, MLP, TABM, AUTO, AUTO)
OF_IMAGES = st.one_of(LINEAR, MLP, CNN, CNN, TORCHVISION)
RATES = floats(1e-30, 1e6, 0.001, 0.1)
BETAS = floats(0, 1 - 2**-53, 0.9)
OPTIMIZERS = (
    st.fixed_dictionaries(
        {"kind": st.sampled_from(["adam", "adamw"])},
        optional={
            "lr": RATES,
            "beta1": BETAS,
            "beta2": BETAS,
            "eps": floats(1e-30, 1, 1e-8),
            "weight_decay": floats(0, 1e6, 0.01),
        },
    )
    | st.fixed_dictionaries(
        {"kind": st.just("sgd")},
        optional={
            "lr": RATES,
            "momentum": BETAS,
            "nesterov": st.booleans(),
            "weight_decay": floats(0, 1e6, 0.01),
        },
    )
    | st.fixed_dictionaries(
        {"kind": st.just("rmsprop")},
        optional={
            "lr": RATES,
            "alpha": BETAS,
            "eps": floats(1e-30, 1, 1e-8),
            "momentum": BETAS,
            "weight_decay": floats(0, 1e6, 0.01),
        },
    )
)
FACTORS = floats(1e-300, 1 - 2**-53, 0.1, 0.5)
LOWEST = floats(0, 1e6, 1e-6)
WARMUP = {"warmup": floats(0, 1 - 2**-53, 0.1)}
THRESHOLDS = floats(0, 1e30, 0.01)
SCHEDULES = st.one_of(
    st.fixed_dictionaries({"kind": st.just("constant")}, optional=WARMUP),
    st.fixed_dictionaries(
        {"kind": st.just("step")},
        optional={"step_size": st.integers(1, 3) | st.just(10**30), "gamma": FACTORS} | WARMUP,
    ),
    st.fixed_dictionaries({"kind": st.just("cosine")}, optional={"min_lr": LOWEST} | WARMUP),
    st.fixed_dictionaries(
        {"kind": st.just("one_cycle")},
        optional={"warmup": FACTORS | st.integers(2, 60).map(lambda steps: 1 / steps)},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("plateau")},
        optional={
            "factor": FACTORS,
            "patience": st.integers(0, 2),
            "threshold": THRESHOLDS,
            "min_lr": LOWEST,
        }
        | WARMUP,
    ),
)
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "clip_grad_norm": floats(1e-300, 1e30, 1.0),
    "patience": st.integers(0, 3),
    "min_delta": THRESHOLDS,
    "keep_best": st.booleans(),
    "batch_size": st.integers(1, 40) | st.just(10_000_000),
    "seed": SEEDS,
    "precision": st.sampled_from(get_args(Precision)),
    "report_every": st.integers(1, 20),
    "test_every": st.integers(0, 3),
    "snapshot_every": st.integers(1, 4),
    "detect_anomaly": st.booleans(),
    "max_seconds": floats(1e-300, 1e9, 0.01),
    "average": st.fixed_dictionaries({"kind": st.just("ema")}, optional={"decay": BETAS})
    | st.fixed_dictionaries({"kind": st.just("swa")}, optional={"start": BETAS}),
}
EPOCHS = st.integers(1, 4)
AUGMENT = st.lists(
    st.one_of(
        st.sampled_from(["flip", {"flip": "vertical"}]),
        st.integers(1, 7).map(lambda pixels: {"crop": pixels}),
        floats(1e-300, 0.9, 0.1).map(lambda share: {"shift": share}),
        floats(1e-300, 180, 10.0).map(lambda angle: {"rotate": angle}),
        floats(1e-300, 0.9, 0.1).map(lambda share: {"scale": share}),
        floats(1e-300, 80, 10.0).map(lambda angle: {"shear": angle}),
    ),
    max_size=3,
)
LOSSES_OF_VALUES = st.sampled_from(LOSSES_FOR["value"]) | st.fixed_dictionaries(
    {"kind": st.just("huber")}, optional={"delta": floats(1e-6, 1e6, 0.5)}
)
LOSSES_OF_CLASSES = st.fixed_dictionaries(
    {"kind": st.just("cross_entropy")},
    optional={
        "label_smoothing": floats(0, 1 - 2**-53, 0.1),
        "class_weights": st.sampled_from([None, "balanced", {"true": 1.0, "false": 1e6}]),
    },
)


def documents(
    data: st.SearchStrategy[dict[str, Any]], **optional: st.SearchStrategy[Any]
) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"dataset": data, "epochs": EPOCHS}, optional=OPTIONAL | optional)


DOCUMENTS = st.one_of(
    documents(SYNTHETIC, model=OF_ROWS, split=ANY_SPLIT, loss=LOSSES_OF_VALUES),
    documents(
        upload(0, "x", ["gap", "x"]),
        model=OF_ROWS,
        split=ANY_SPLIT | COLUMNS,
        loss=LOSSES_OF_VALUES,
    ),
    documents(
        upload(1, "yes"),
        model=OF_ROWS,
        split=ANY_SPLIT | COLUMNS | STRATIFIED,
        loss=LOSSES_OF_CLASSES,
    ),
    documents(upload(2, "x"), model=OF_ROWS, loss=LOSSES_OF_VALUES),
    documents(upload(6, "x", ["x", "y"]), model=OF_ROWS, split=ANY_SPLIT, loss=LOSSES_OF_VALUES),
    documents(
        st.just({"kind": "upload", "id": "ds_6", "target": "word", "split_by": "part"}),
        model=OF_ROWS,
        loss=LOSSES_OF_CLASSES,
    ),
    *(
        documents(
            upload(number),
            model=OF_IMAGES,
            split=ANY_SPLIT | STRATIFIED,
            loss=LOSSES_OF_CLASSES,
            augment=AUGMENT,
        )
        for number in (3, 4)
    ),
    documents(upload(5, ["y", "x"]), model=AUTO, split=ANY_SPLIT, loss=LOSSES_OF_VALUES),
    documents(upload(5, "word"), model=AUTO, split=ANY_SPLIT | STRATIFIED, loss=LOSSES_OF_CLASSES),
)
"""Few of them are refused, so that most reach the end."""


def outcome(document: dict[str, Any], uploads: Shelf, directory: Path) -> Outcome:
    """Submit, train, evaluate, save and serve a job as the service does; `directory` is that of its
    model, and is replaced. Any other error than those of the outcomes is raised."""
    try:
        spec = TrainingSpec.of(document, uploads)
        footprint(spec)
        feasibility.check(spec)
    except Invalid:
        return "refused"
    spec = TrainingSpec.model_validate(spec.model_dump(mode="json"))
    fold_results = FoldResults.from_state(None)
    try:
        for fold in range(spec.split.folds or 0):
            fold_results = fold_results.with_fold(_trained(spec, uploads, fold))
        run = _trained(spec, uploads)
    except Invalid:
        return "invalid"
    except Diverged:
        return "diverged"
    shutil.rmtree(directory, ignore_errors=True)
    trained = summary.summarize(run)
    figures = trained.evaluation.figures() | fold_results.summary()
    data = run.data
    save_model(
        directory,
        run.model,
        spec,
        data.signature,
        figures,
        data.fingerprint,
        CPU,
        best_epoch=run.best_epoch,
        beside=trained.files(),
    )
    summary.TrainingSummary.load(directory)
    model = Model.load(directory)
    assert all(tensor.isfinite().all() for tensor in model.network[1].state_dict().values())
    predictions = model.predict(data.train.inputs[:2].numpy())
    expected = run.model(data.train.inputs[:2])
    assert predictions.are_finite() == bool(expected.isfinite().all())
    return "trained"


def _trained(spec: TrainingSpec, uploads: Shelf, fold: int | None = None) -> Run:
    data = datasets.load(spec.dataset, spec.split, uploads.root, fold)
    run = Run(build(spec, data), data, spec, CPU)
    with torch.autograd.set_detect_anomaly(False):
        for _ in loop.train(run):
            pass
    return run
