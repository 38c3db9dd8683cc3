"""Losses equal those of torch, and options act on training rows only."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from ml.errors import Invalid
from ml.losses import CrossEntropySpec, HuberSpec, training_loss
from ml.signature import Classes, Value
from ml.specs import TrainingSpec
from ml.strict import parse
from ml.training import loop
from tests.ml.shelf import Shelf
from tests.ml.training.test_resuming import start

CPU = torch.device("cpu")
NAMES = ["ant", "bee", "cat", "dog"]
TARGETS = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
"""No row is a dog."""
LOGITS = torch.randn(len(TARGETS), len(NAMES), generator=torch.Generator().manual_seed(0))
CLASSES = {
    "kind": "synthetic",
    "features": {"a": {"uniform": [-1, 1]}},
    "target": "a > 0.5",
    "size": 200,
}


def loss_of(**options: Any) -> Any:
    spec = CrossEntropySpec(**options)
    return training_loss(spec, TARGETS, Classes(names=NAMES), CPU)


def test_huber_has_the_delta_of_its_spec() -> None:
    outputs, targets = torch.tensor([[0.0], [0.0]]), torch.tensor([[1.0], [5.0]])
    for loss in (
        HuberSpec(delta=2.0).measure,
        training_loss(HuberSpec(delta=2.0), targets, Value(name="y"), CPU),
    ):
        assert loss(outputs, targets).item() == pytest.approx((0.5 + 2 * (5 - 1)) / 2)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    # `compute_class_weight("balanced", ...)` of the classes that occur.
    weights = torch.tensor([10 / (3 * 5), 10 / (3 * 3), 10 / (3 * 2), 0.0])
    found = loss_of(class_weights="balanced")(LOGITS, TARGETS)
    expected = functional.cross_entropy(LOGITS, TARGETS, weights)
    torch.testing.assert_close(found, expected)
    by_name = dict(zip(NAMES, [4.0, 4.0 * 5 / 3, 4.0 * 5 / 2, 1.0], strict=True))
    torch.testing.assert_close(loss_of(class_weights=by_name)(LOGITS, TARGETS), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 3.0, 0.5]])
def test_all_rows_have_the_loss_of_torch(smoothing: float, weights: list[float] | None) -> None:
    named = weights and dict(zip(NAMES, weights, strict=True))
    loss = loss_of(label_smoothing=smoothing, class_weights=named)
    one, other = (LOGITS.clone().requires_grad_() for _ in range(2))
    like = nn.CrossEntropyLoss(weights and torch.tensor(weights), label_smoothing=smoothing)
    found, expected = loss(one, TARGETS), like(other, TARGETS)
    torch.testing.assert_close(found, expected)
    found.backward()
    expected.backward()
    torch.testing.assert_close(one.grad, other.grad)


def test_rows_count_the_same_in_every_batch() -> None:
    loss = loss_of(label_smoothing=0.1, class_weights="balanced")
    whole = loss(LOGITS, TARGETS)
    rows = loss(LOGITS, TARGETS, reduction="none")
    torch.testing.assert_close(rows.mean(), whole)
    # The second batch has rows of one class only, which are not weighted among themselves.
    parts = [loss(LOGITS[at], TARGETS[at]) * n for at, n in ((slice(8), 8), (slice(8, 10), 2))]
    torch.testing.assert_close(sum(parts) / 10, whole)


def test_weights_act_on_training_rows_only() -> None:
    document = {"dataset": CLASSES, "split": {"validation": 0.3}, "epochs": 1, "batch_size": 1000}
    plain, weighted = (
        {r.level: r.values for r in loop.train(start(document | {"loss": loss}))}["epoch"]
        for loss in (
            "cross_entropy",
            {"kind": "cross_entropy", "class_weights": "balanced", "label_smoothing": 0.5},
        )
    )
    assert weighted["train_loss"] != pytest.approx(plain["train_loss"], rel=1e-3)
    # One small step apart.
    assert weighted["validation_loss"] == pytest.approx(plain["validation_loss"], rel=0.01)


def test_weights_find_the_rare_class() -> None:
    noisy = CLASSES | {"target": "a > 0.9", "size": 400}
    rates = []
    for weights in (None, "balanced"):
        document = {
            "dataset": noisy,
            "loss": {"kind": "cross_entropy", "class_weights": weights},
            "optimizer": {"kind": "adam", "lr": 0.1},
            "epochs": 3,
        }
        run = start(document)
        list(loop.train(run))
        predicted = run.model.eval()(run.train.inputs).argmax(1)
        rates.append(predicted.double().mean().item())
    assert rates[0] < 0.05 < rates[1]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"true": 2.0}, "has no weight for 'false'; every class needs one"),
        (
            {"true": 2.0, "false": 1.0, "maybe": 1.0},
            "no class is called 'maybe'; the classes are 'false', 'true'",
        ),
        ({"true": 0.0, "false": 1.0}, "greater than or equal to 0.000001"),
        ({"true": "2", "false": 1.0}, "should be a valid number"),
        ("even", 'must be "balanced", or the weight of every class by name'),
    ],
)
def test_wrong_weights_are_refused(weights: object, message: str) -> None:
    loss = {"kind": "cross_entropy", "class_weights": weights}
    with pytest.raises(Invalid, match=message) as error:
        TrainingSpec.of({"dataset": CLASSES, "loss": loss})
    # With a tag of the union where pydantic refuses it.
    assert [step for step in error.value.loc if step != "cross_entropy"][:2] == [
        "loss",
        "class_weights",
    ]


def test_names_of_uploaded_classes_are_known(shelf: Shelf) -> None:
    document = {
        "dataset": {"kind": "upload", "id": "ds_0"},
        "loss": {"kind": "cross_entropy", "class_weights": {"ripe": 1.0}},
    }
    with pytest.raises(Invalid, match="has no weight for 'green'"):
        TrainingSpec.of(document, shelf)


@pytest.fixture
def shelf(tmp_path: Any) -> Shelf:
    filled = Shelf(tmp_path)
    filled.put("x,y\n1,ripe\n2,green\n3,ripe\n4,green\n5,ripe\n", target="y")
    return filled


def test_name_of_a_loss_stands_for_its_defaults() -> None:
    line = {"kind": "synthetic", "features": {"a": {"uniform": [0, 1]}}, "target": "a"}
    by_name, in_full = (
        TrainingSpec.of({"dataset": line, "loss": loss})
        for loss in ("huber", {"kind": "huber", "delta": 1.0})
    )
    assert by_name == in_full
    assert parse(TrainingSpec, by_name.model_dump(mode="json") | {"loss": "huber"}) == by_name
