"""Features that did not vary in the training rows have no effect on predictions."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import datasets
from ml.artifacts import load_model, save_model
from ml.datasets.masked import warnings
from ml.errors import Invalid
from ml.inference.model import Model
from ml.ingest.warning import MAX_ALIKE
from ml.signature import Features
from ml.specs import TrainingSpec
from ml.spelling import MISSING
from ml.training import loop
from ml.training.initial_model import build
from ml.training.run import Run
from ml.training.sweeps import fit_together
from tests.ml.shelf import CPU, Shelf

HEAD = "year,limit,x,ripe,colour,note,empty,y"
MODELS: list[dict[str, Any]] = [
    {"kind": "linear"},
    {"kind": "mlp", "hidden": [16]},
    {"kind": "mlp", "hidden": [16], "embedding": 3},
]
ADAM = {"kind": "adam", "lr": 0.05}
TYPICAL = {"year": 2024, "limit": 100, "x": 3, "ripe": True, "colour": "red", "note": "new"}
ROWS = "\n".join(f"2024,100,{x},true,red,{'new' if x % 2 else ''},,{2 * x + 1}" for x in range(40))
"""`y` is 2 x + 1; only `x`, and whether there is a note, varies."""


@pytest.fixture(scope="module", params=MODELS, ids=str)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    # An empty column is a number only where the user says so.
    dataset = shelf.put(f"{HEAD}\n{ROWS}", types={"empty": "numeric"})
    spec = shelf.spec(
        {"id": dataset, "target": "y"},
        model=request.param,
        optimizer=ADAM,
        epochs=150,
        batch_size=32,
        split={"test": 0.0},
    )
    model, _ = shelf.model(spec)
    return model


def answers(model: Model, *rows: dict[str, Any]) -> list[float]:
    """Predict each row alone, since the rounding of a row may depend on its place in a batch."""
    full = [TYPICAL | {"empty": None} | row for row in rows]
    return [model.predict(model.rows([row])).lists[0][0] for row in full]


def test_what_was_constant_in_training_decides_nothing(trained: Model) -> None:
    odd: list[dict[str, Any]]
    odd = [{"limit": None}, {"limit": 50_000}, {"year": 1e30}, {"ripe": False}, {"empty": -7}]
    odd += [{"colour": "blue"}, {"colour": None}, {"ripe": None}, {"note": "old"}]
    [right, *others] = answers(trained, {}, *odd)
    assert right == pytest.approx(7, abs=0.5)
    assert others == [right] * len(odd)
    assert answers(trained, {"x": 10})[0] == pytest.approx(21, abs=1)


anything = st.floats(-3e38, 3e38) | st.none() | st.integers(-(2**60), 2**60)


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "year": anything,
            "limit": anything,
            "empty": anything,
            "ripe": st.booleans() | st.none(),
            "colour": st.text(max_size=9) | anything,
            # A gap would count: some training rows have none.
            "note": st.text(max_size=9).filter(lambda text: text.strip() not in MISSING),
        }
    ),
    st.floats(-1e6, 1e6) | st.none(),
)
def test_no_value_of_a_masked_feature_changes_a_prediction(
    trained: Model, values: dict[str, Any], x: float | None
) -> None:
    usual, odd = answers(trained, {"x": x}, values | {"x": x})
    assert usual == odd


def test_formula_and_weights_of_masked_features_are_0(trained: Model) -> None:
    inputs = trained.manifest.signature.inputs
    assert isinstance(inputs, Features)
    assert inputs.encoding is not None
    assert inputs.encoding.masked == ["year", "limit", "ripe", "colour", "note", "empty"]
    assert inputs.encoding.gaps == ["note"], "always missing is not an indicator"
    network = trained.network.get_submodule("network")
    if isinstance(network[0], torch.nn.Flatten):  # type: ignore[index]
        weight = network.get_parameter("1.weight")
        nonzero = weight.ne(0).any(dim=0).tolist()
        # year, limit, x, ripe, empty; colour, note; whether there is a note.
        assert nonzero == [False, False, True, False, False, False, False, True]
    formula = trained.manifest.linear
    if formula is not None:
        assert formula.weights["x"] == pytest.approx(2, rel=0.01)
        named = {n for n, weight in formula.weights.items() if weight}
        assert named == {"x", "note is missing"}


def test_masked_model_is_saved_and_loaded_bit_for_bit(trained: Model, tmp_path: Path) -> None:
    manifest = trained.manifest
    spec = TrainingSpec.model_validate_json(manifest.model_dump_json(include={"spec"})[8:-1])
    save_model(tmp_path / "m", trained.network, spec, manifest.signature, {}, "", CPU)
    again = Model.load(tmp_path / "m")
    rows = [{"x": x, "limit": x} for x in (-5, 0.1, None)]
    assert answers(again, *rows) == answers(trained, *rows)


def test_constant_of_1e30_is_constant(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    rows = "\n".join(f"1e30,{x},{3 * x}" for x in range(50))
    dataset = shelf.put(f"big,x,y\n{rows}")
    spec = shelf.spec({"id": dataset, "target": "y"}, optimizer=ADAM, epochs=200)
    model, manifest = shelf.model(spec)
    assert manifest.linear is not None
    assert manifest.linear.weights == {"big": 0, "x": pytest.approx(3, rel=0.01)}
    values = [model.predict(model.rows([[big, 5]])).lists for big in (1e30, 0, None)]
    assert values[0] == [[pytest.approx(15, abs=0.5)]]
    assert values[0] == values[1] == values[2]


def test_each_fit_is_judged_by_its_own_training_rows(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    marks = [("train", 5)] * 6 + [("test", 9)] * 2
    rows = "\n".join(f"{mark},{c},{x},{x}" for x, (mark, c) in enumerate(marks))
    dataset = shelf.put(f"part,c,x,y\n{rows}")
    data = shelf.load(shelf.spec({"id": dataset, "target": "y", "split_by": "part"}))
    assert [(w.column, w.kind) for w in data.warnings] == [("c", "constant")]
    assert data.test is not None
    assert data.preprocessing(data.test.inputs)[:, 0].tolist() == [0, 0]
    # One row differs, and is held out by one of the folds.
    rows = "\n".join(f"{int(x == 4)},{x},{x}" for x in range(12))
    spec = shelf.spec(
        {"id": shelf.put(f"c,x,y\n{rows}"), "target": "y"}, split={"test": 0.0, "folds": 4}
    )
    folds = [datasets.load(spec.dataset, spec.split, shelf.root, fold) for fold in range(4)]
    assert sorted(len(fold.warnings) for fold in folds) == [0, 0, 0, 1]
    assert shelf.load(spec).warnings == []


def test_warnings_say_what_does_not_vary(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    dataset = shelf.put(f"{HEAD}\n{ROWS}", types={"empty": "numeric"})
    data = shelf.load(shelf.spec({"id": dataset, "target": "y"}, split={"test": 0.0}))
    assert {w.column: (w.kind, w.message) for w in data.warnings} == {
        "year": (
            "constant",
            "'year' is 2024 in every training row; it has no effect on predictions",
        ),
        "limit": (
            "constant",
            "'limit' is 100 in every training row; it has no effect on predictions",
        ),
        "ripe": (
            "constant",
            "'ripe' is true in every training row; it has no effect on predictions",
        ),
        "colour": (
            "constant",
            "'colour' is 'red' in every training row; it has no effect on predictions",
        ),
        "note": (
            "constant",
            "'note' is 'new' or missing in every training row; other values have no effect on "
            "predictions",
        ),
        "empty": (
            "empty",
            "'empty' has no value in any training row; it has no effect on predictions",
        ),
    }


def test_column_without_any_value_is_masked(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    rows = "\n".join(f"{x},,{x}" for x in range(20))
    spec = shelf.spec({"id": shelf.put(f"x,none,y\n{rows}"), "target": "y"}, epochs=1)
    assert [(w.column, w.kind) for w in shelf.load(spec).warnings] == [("none", "empty")]
    model, manifest = shelf.model(spec)
    assert manifest.linear is not None
    assert manifest.linear.weights["x"] != 0
    assert not any(weight for name, weight in manifest.linear.weights.items() if name != "x")
    kind = spec.dataset.resolved.view.features["none"]  # type: ignore[union-attr]
    value: object = {"numeric": 5, "boolean": True, "categorical": "a"}[kind]
    usual, odd = (model.predict(model.rows([[3, one]])).lists for one in (None, value))
    assert usual == odd


def test_nothing_is_learned_from_features_without_any_value(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    rows = "\n".join(
        f"{part},{c},{x}" for x, (part, c) in enumerate([("train", "")] * 9 + [("test", "a")])
    )
    dataset = shelf.put(f"part,c,y\n{rows}", types={"c": "categorical"})
    spec = shelf.spec({"id": dataset, "target": "y", "split_by": "part"})
    data = shelf.load(spec)
    with pytest.raises(Invalid, match="no feature has a value in any training row"):
        build(spec, data)


def test_warnings_are_bounded() -> None:
    found = warnings({f"c{i}": "x" * 5000 for i in range(3000)})
    assert len(found) == MAX_ALIKE + 1
    assert all(len(warning.message) < 300 for warning in found)
    assert found[-1].column is None
    assert "2,995 more columns" in found[-1].message


def synthetic(**more: Any) -> TrainingSpec:
    features = {"x": {"uniform": [0, 1]}, "same": {"normal": [1e9, 1e-6]}}
    document = {"kind": "synthetic", "features": features, "target": "3*x + 5", "size": 100}
    return TrainingSpec.of(
        {"dataset": document | more, "optimizer": ADAM, "epochs": 500, "split": {"test": 0.0}}
    )


@pytest.mark.parametrize("standardize", [False, True])
def test_constant_synthetic_feature_decides_nothing(tmp_path: Path, standardize: bool) -> None:
    spec = synthetic(standardize=standardize)
    data = datasets.load(spec.dataset, spec.split, tmp_path)
    assert [w.column for w in data.warnings] == ["same"]
    run = Run(build(spec, data), data, spec, CPU)
    for _ in loop.train(run):
        pass
    manifest = save_model(tmp_path / "m", run.model, spec, data.signature, {}, "", CPU)
    assert manifest.linear is not None
    assert manifest.linear.weights == {"x": pytest.approx(3, rel=0.05), "same": 0}
    model = Model(manifest, load_model(tmp_path / "m", manifest))
    values = [model.predict(model.rows([[0.5, same]])).lists for same in (1e9, 3e38, -3e38)]
    assert values[0] == [[pytest.approx(6.5, abs=0.1)]]
    assert values[0] == values[1] == values[2]
    [member] = fit_together([spec], data, CPU)
    torch.testing.assert_close(member.model.state_dict(), run.model.state_dict())
