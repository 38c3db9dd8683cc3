"""Uploaded tables: preprocessing is fitted on training rows and saved with the model."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from ml import datasets
from ml.errors import Invalid
from ml.evaluation.metrics import evaluate
from ml.losses import LOSSES
from ml.models import Embed, count_parameters
from ml.signature import Classes, Features, Value
from ml.specs import TrainingSpec
from ml.spelling import MISSING
from ml.training.initial_model import build
from ml.units import to_units
from tests.ml.shelf import Shelf

FRUIT = """weight,ripe,colour,origin,price
100,true,red,Chile,1.0
110,false,green,,1.1
,true,red,Peru,1.3
130,,yellow,Chile,1.4
140,true,,Peru,1.5
150,false,green,Chile,
160,true,red,Peru,1.7
"""


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


ALL_TRAIN = {"test": 0.0}


def test_features_default_to_all_columns_but_the_target(shelf: Shelf) -> None:
    spec = shelf.spec({"id": shelf.put(FRUIT), "target": "price"})
    assert (spec.name, spec.model.kind, spec.loss.kind) == ("fruit", "linear", "mse")
    data = shelf.load(spec.model_copy(update={"split": spec.split.model_copy(update=ALL_TRAIN)}))
    assert data.signature.inputs == Features.model_validate(
        {
            "names": ["weight", "ripe", "colour", "origin"],
            "encoding": {
                "booleans": ["ripe"],
                "categories": {"colour": ["green", "red", "yellow"], "origin": ["Chile", "Peru"]},
                "gaps": ["weight", "ripe", "colour", "origin"],
                "missing": [*MISSING],
                "width": 2 + 3 + 2 + 4,
            },
        }
    )
    assert len(data.train) == 6, "a row without a target teaches nothing"
    encoded = data.preprocessing(data.train.inputs)
    assert encoded.shape == (6, 11)
    torch.testing.assert_close(encoded[:, :2].mean(0), torch.zeros(2))
    assert encoded[2, 0] == 0, "a gap is the mean"
    assert encoded[1].tolist()[2:] == [1, 0, 0, 0, 0, 0, 0, 0, 1]


def test_target_is_standardized_and_reported_in_its_units(shelf: Shelf) -> None:
    rows = "\n".join(f"{x},{1e6 + 1e5 * x}" for x in range(50))
    spec = shelf.spec(
        {"id": shelf.put(f"x,y\n{rows}"), "target": "y"},
        optimizer={"kind": "adam", "lr": 0.1},
        epochs=200,
        split=ALL_TRAIN,
    )
    run, data = shelf.train(spec)
    output = data.signature.output
    assert isinstance(output, Value)
    assert (output.offset, output.scale) == pytest.approx(
        (3.45e6, 1e5 * math.sqrt(50**2 / 12)), 1e-3
    )
    figures = evaluate(run.model, data.train, data.signature, LOSSES["mse"])
    assert figures["mae"] < 1e4
    assert figures["mse"] == pytest.approx(figures["loss"] * output.scale**2, rel=0.01)
    model, manifest = shelf.model(spec)
    assert manifest.linear is not None
    assert manifest.linear.weights["x"] == pytest.approx(1e5, rel=1e-2)
    [value] = model.predict(model.rows([[10]])).values[0]
    assert value == pytest.approx(2e6, rel=1e-2)
    by_hand = manifest.linear.weights["x"] * 10 + manifest.linear.bias
    assert value == pytest.approx(by_hand, rel=1e-5)


def test_numbers_far_from_zero_keep_their_precision(shelf: Shelf) -> None:
    # Like times in seconds: in float32 their spacing is 128.
    rows = "\n".join(f"{1.7e9 + t:.0f},{1.7e9 + 2 * t:.0f}" for t in range(60))
    spec = shelf.spec(
        {"id": shelf.put(f"begin,end\n{rows}"), "target": "end"},
        optimizer={"kind": "adam", "lr": 0.1},
        epochs=300,
    )
    model, _ = shelf.model(spec)
    data = shelf.load(spec)
    figures = evaluate(model.network, data.train, data.signature, LOSSES["mse"])
    assert figures["mae"] < 1e-3
    answers = model.predict(model.rows([[1.7e9 + 30], {"begin": 1.7e9 + 31}]))
    assert [row[0] - 1.7e9 for row in answers.lists] == pytest.approx([60, 62], abs=1e-2)


def test_constant_feature_becomes_zero(shelf: Shelf) -> None:
    rows = "\n".join(f"0.1,{x}" for x in range(49))
    data = shelf.load(shelf.spec({"id": shelf.put(f"same,y\n{rows}"), "target": "y"}))
    assert data.preprocessing(data.train.inputs).abs().max() < 1e-9


@pytest.mark.parametrize(("written", "value"), [("2.50", 2.5), ("True", True), ("0.1", 0.1)])
def test_numbers_and_booleans_match_categories(shelf: Shelf, written: str, value: object) -> None:
    rows = "".join(f"{written},{i}\nother,{i}\n" for i in range(20))
    dataset = shelf.put(f"size,y\n{rows}", types={"size": "categorical"})
    model, _ = shelf.model(shelf.spec({"id": dataset, "target": "y"}, epochs=1))
    by_text, by_value = model.rows([{"size": written}, {"size": value}]).tolist()
    assert by_text == by_value != [-1.0]


def test_linear_coefficients_are_in_units_of_the_data(shelf: Shelf) -> None:
    spec = shelf.spec({"id": shelf.put(FRUIT), "target": "price"}, epochs=3, split=ALL_TRAIN)
    model, manifest = shelf.model(spec)
    formula = manifest.linear
    assert formula is not None
    rows: list[dict[str, Any]] = [
        {"weight": 120, "ripe": True, "colour": "red", "origin": "Peru"},
        {"weight": None, "ripe": False, "colour": None, "origin": "Chile"},
        {"weight": -5.5, "ripe": None, "colour": "blue", "origin": None},
    ]
    expected = []
    for row in rows:
        named = {
            "weight": row["weight"],
            "ripe": row["ripe"],
            f"colour={row['colour']}": 1,
            f"origin={row['origin']}": 1,
        } | {f"{name} is missing": 1 for name, value in row.items() if value is None}
        known = [formula.weights[k] * v for k, v in named.items() if k in formula.weights and v]
        expected.append(sum(known) + formula.bias)
    assert model.predict(model.rows(rows)).values[:, 0].tolist() == pytest.approx(
        expected, rel=1e-4
    )


def test_preprocessing_is_fitted_on_training_rows_only(shelf: Shelf) -> None:
    text = "x,c,part,y\n1,a,train,1\n2,b,train,2\n3,a,validation,3\n1000,z,test,4\n"
    spec = shelf.spec({"id": shelf.put(text), "target": "y", "split_by": "part"})
    row_counts = spec.dataset.row_counts()
    assert (row_counts.rows, row_counts.builtin_split_rows) == (2, 2)
    data = shelf.load(spec)
    inputs, output = data.signature.inputs, data.signature.output
    assert isinstance(inputs, Features)
    assert isinstance(output, Value)
    assert inputs.names == ["x", "c"]
    assert inputs.encoding is not None
    assert inputs.encoding.categories == {"c": ["a", "b"]}
    assert (output.offset, output.scale) == (1.5, 0.5)
    assert data.preprocessing.get_buffer("mean").tolist() == [1.5]
    assert data.validation is not None
    assert data.test is not None
    assert data.test.inputs.tolist() == [[1000, -1]]
    assert data.preprocessing(data.test.inputs)[0, 1:].tolist() == [0, 0]
    assert data.test.targets.tolist() == [[5.0]]


@pytest.mark.parametrize(
    ("row", "message", "loc"),
    [
        ([1, True, "red"], "must be a row of 4 features .* not 3 values", (0,)),
        ("red", "must be a row of 4 features", (0,)),
        ({"weight": 1, "ripe": True, "colour": "red"}, r"is missing 1 feature \(origin\)", (0,)),
        (
            {"weight": 1, "ripe": True, "colour": "red", "origin": "x", "smell": 1},
            "unknown",
            (0, "smell"),
        ),
        (["heavy", True, "red", "Peru"], "must be a number or null, not the string", (0, 0)),
        ({"weight": 1, "ripe": 7, "colour": "a", "origin": "b"}, "must be true or", (0, "ripe")),
        ([1, True, ["red"], "Peru"], "must be a string", (0, 2)),
        ([1e39, True, "red", "Peru"], "finite", (0, 0)),
    ],
)
def test_invalid_row_is_refused(
    shelf: Shelf, row: object, message: str, loc: tuple[object, ...]
) -> None:
    model, _ = shelf.model(
        shelf.spec({"id": shelf.put(FRUIT), "target": "price"}, epochs=1, split=ALL_TRAIN)
    )
    with pytest.raises(Invalid, match=message) as error:
        model.rows([row])
    assert error.value.loc == loc


def test_classes_are_the_values_of_the_target(shelf: Shelf) -> None:
    spec = shelf.spec({"id": shelf.put(FRUIT), "target": "colour"}, epochs=1)
    assert (spec.dataset.signature().output, spec.loss.kind) == (
        Classes(names=["green", "red", "yellow"]),
        "cross_entropy",
    )
    numbers = "x,digit\n" + "\n".join(f"{i},{i % 11}" for i in range(40))
    request = {"id": shelf.put(numbers), "target": "digit"}
    assert isinstance(shelf.spec(request).dataset.signature().output, Value)
    spec = shelf.spec(request | {"task": "classification"}, split=ALL_TRAIN)
    assert spec.dataset.signature().output == Classes(names=[str(i) for i in range(11)])
    data = shelf.load(spec)
    assert data.train.targets.tolist() == [i % 11 for i in range(40)]


def test_numbers_can_be_used_as_categories(shelf: Shelf) -> None:
    text = "zip,y\n" + "\n".join(f"{zip_},{zip_ % 7}.5" for zip_ in [8001, 8002, 9000] * 5)
    spec = shelf.spec(
        {"id": shelf.put(text), "target": "y", "features": {"zip": "categorical"}},
        split=ALL_TRAIN,
        epochs=1,
    )
    model, _ = shelf.model(spec)
    inputs = model.manifest.signature.inputs
    assert isinstance(inputs, Features)
    assert inputs.encoding is not None
    assert inputs.encoding.categories == {"zip": ["8001", "8002", "9000"]}
    assert model.rows([[8002], ["9000"], [1]]).tolist() == [[1], [2], [-1]]


def test_split_can_be_stratified(shelf: Shelf) -> None:
    rows = "\n".join(f"{i},{'rare' if i % 20 == 0 else 'common'}" for i in range(200))
    spec = shelf.spec(
        {"id": shelf.put(f"x,y\n{rows}"), "target": "y"},
        split={"validation": 0.1, "test": 0.2, "stratify": True},
    )
    data = shelf.load(spec)
    parts = [data.train, data.validation, data.test]
    assert [int((p.targets == 1).sum()) for p in parts if p] == [7, 1, 2]
    seen = sorted(x for p in parts if p for x in p.inputs[:, 0].tolist())
    assert seen == list(range(200))
    other = spec.model_copy(update={"split": spec.split.model_copy(update={"seed": 1})})
    assert not torch.equal(shelf.load(other).train.inputs, data.train.inputs)


def test_embeddings_are_counted_before_they_are_allocated(shelf: Shelf) -> None:
    rows = "\n".join(f"{'abc'[i % 3]},{'de'[i % 2]},{i}" for i in range(40))
    model = {"kind": "mlp", "hidden": [4], "embedding": 10}
    spec = shelf.spec({"id": shelf.put(f"one,two,y\n{rows}"), "target": "y"}, model=model)
    counted = count_parameters(spec.model, spec.dataset.signature())
    run, _ = shelf.train(spec.model_copy(update={"epochs": 1}))
    # Only then are the columns with gaps known.
    assert counted == sum(parameter.numel() for parameter in run.model.parameters())
    assert counted == (3 + 2) * 10 + (10 + 10) * 4 + 4 + 4 + 1


def test_categories_can_be_embedded(shelf: Shelf) -> None:
    spec = shelf.spec(
        {"id": shelf.put(FRUIT), "target": "price"},
        model={"kind": "mlp", "hidden": [8], "embedding": 3},
        epochs=2,
        split=ALL_TRAIN,
    )
    run, data = shelf.train(spec)
    embed = run.model.get_submodule("network.0")
    assert isinstance(embed, Embed)
    assert [tuple(table.shape) for table in embed.tables] == [(3, 3), (2, 3)]
    encoded = data.preprocessing(data.train.inputs)
    embedded = embed(encoded)
    assert embedded.shape == (6, embed.width) == (6, 2 + 2 * 3 + 4)
    torch.testing.assert_close(embedded[0, 2:5], embed.tables[0][1], msg="red is the second")
    assert embedded[1, 5:8].tolist() == [0, 0, 0], "no origin"
    before = build(spec, data).get_submodule("network.0").get_parameter("tables.0")
    assert not torch.equal(before, embed.tables[0]), "they are learned"
    model, manifest = shelf.model(spec)
    assert model.predict(model.rows([[120, True, "red", None]])).are_finite()
    assert manifest.parameter_count == 3 * 3 + 2 * 3 + 12 * 8 + 8 + 8 + 1


def test_other_data_is_encoded_by_the_signature_of_the_model(shelf: Shelf) -> None:
    spec = shelf.spec({"id": shelf.put(FRUIT), "target": "colour"}, epochs=2, split=ALL_TRAIN)
    model, _ = shelf.model(spec)
    # The categories and classes differ, and so does their order.
    text = "weight,ripe,colour,origin,price\n1,true,red,Angola,1\n2,false,yellow,Peru,2\n"
    other = shelf.spec({"id": shelf.put(text), "target": "colour"}, split=ALL_TRAIN)
    data = datasets.load(other.dataset, other.split, shelf.root, signature=model.manifest.signature)
    assert data.signature == model.manifest.signature
    rows = [{"weight": 1, "ripe": True, "origin": "Angola", "price": 1}, [2, False, "Peru", 2]]
    assert data.train.inputs.tolist() == model.rows(rows).tolist()
    assert data.train.targets.tolist() == [1, 2]


def test_targets_of_other_data_are_scaled_as_in_training(shelf: Shelf) -> None:
    rows = "\n".join(f"{x},{1000 * x}" for x in range(10))
    spec = shelf.spec({"id": shelf.put(f"x,y\n{rows}"), "target": "y"}, split=ALL_TRAIN)
    signature = shelf.load(spec).signature
    other = shelf.spec({"id": shelf.put("x,y\n5,0\n6,9000\n"), "target": "y"}, split=ALL_TRAIN)
    data = datasets.load(other.dataset, other.split, shelf.root, signature=signature)
    output = signature.output
    assert isinstance(output, Value)
    assert to_units(data.train.targets, output).flatten().tolist() == pytest.approx(
        [0, 9000], abs=1e-2
    )


def test_regression_targets_cannot_be_stratified(shelf: Shelf) -> None:
    with pytest.raises(Invalid, match="stratify needs a target of classes"):
        shelf.spec({"id": shelf.put(FRUIT), "target": "price"}, split={"stratify": True})


@pytest.mark.parametrize(
    ("text", "request_", "message"),
    [
        (FRUIT, {}, "is missing; choose one of weight, ripe, colour"),
        (FRUIT, {"target": "taste"}, "there is no column 'taste'; there are weight"),
        ("x,y\n1,5\n2,5\n", {"target": "y"}, "'y' is 5 in every row"),
        ("x,y\n1,a\n2,a\n", {"target": "y"}, "'y' is 'a' in every row"),
        ("x,y\n1,true\n2,true\n", {"target": "y"}, "'y' is true in every row"),
        ("x,y\n1,\n2,\n", {"target": "y"}, "'y' has no value in any row"),
        (
            "x,y\n" + "\n".join(f"{i},class{i}" for i in range(2000)),
            {"target": "y"},
            "is free text",
        ),
        (
            "x,y\n" + "\n".join(f"{i},{i}" for i in range(2000)),
            {"target": "y", "task": "classification"},
            "over 1,000 different values, too many for classes",
        ),
        (FRUIT, {"target": "colour", "task": "regression"}, "regression needs a numeric target"),
        (FRUIT, {"target": "price", "features": {"price": None}}, "'price', which is the target"),
        (FRUIT, {"target": "price", "features": {"wait": None}}, "no column 'wait'"),
        (FRUIT, {"target": "price", "features": {}}, "name at least one column"),
        (FRUIT, {"target": "price", "features": {"colour": "numeric"}}, "cannot be used as num"),
        (FRUIT, {"target": "price", "split_by": "colour"}, "has the value 'red'"),
        (FRUIT, {"target": "price", "split_by": "price"}, "is the target"),
        (
            FRUIT,
            {"target": "price", "split_by": "weight"},
            "has other values than 0 and 1",
        ),
        ("y\n1\n2\n", {"target": "y"}, "leaves no column to learn from"),
    ],
)
def test_unusable_columns_are_refused(
    shelf: Shelf, text: str, request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        shelf.spec({"id": shelf.put(text)} | request_)


def test_missing_data_set_is_refused(shelf: Shelf) -> None:
    with pytest.raises(Invalid, match="there is no data set 'ds_7'"):
        shelf.spec({"id": "ds_7"})
    with pytest.raises(Invalid, match="known only to the service"):
        TrainingSpec.of({"dataset": {"kind": "upload", "id": "ds_7"}})


def test_equal_specs_give_equal_weights(shelf: Shelf) -> None:
    request = {"id": shelf.put(FRUIT), "target": "colour"}
    model = {"kind": "mlp", "hidden": [8]}
    hashes = {
        shelf.model(shelf.spec(request, model=model, epochs=2))[1].weights_sha256 for _ in range(2)
    }
    assert len(hashes) == 1
