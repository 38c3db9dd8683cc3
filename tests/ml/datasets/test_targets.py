"""Several targets of one data set: which are taken, how they are loaded, and what is told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ml import datasets
from ml.datasets.job_warnings import job_warnings
from ml.errors import Invalid
from ml.signature import Values
from ml.specs import TrainingRequest, TrainingSpec, resolve
from ml.units import to_units
from tests.ml.ingest.npz.files import npz
from tests.ml.shelf import Shelf

ALL_TRAIN = {"test": 0.0}
ROWS = ["x,part,a,b,c", "1,train,10,0.5,u", "2,train,,0.7,v", "3,test,30,,u", "4,train,40,0.1,v"]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def put(shelf: Shelf, rows: list[str] = ROWS, **options: Any) -> str:
    return shelf.put("\n".join(rows), **options)


def test_only_rows_with_every_target_are_loaded_in_the_order_of_the_request(shelf: Shelf) -> None:
    spec = shelf.spec({"id": put(shelf), "target": ["b", "a"]}, split=ALL_TRAIN)
    assert spec.dataset.row_counts().rows == 2
    data = shelf.load(spec)
    output = data.signature.output
    assert isinstance(output, Values)
    assert [(one.name, one.offset, one.scale) for one in output.targets] == [
        ("b", pytest.approx(0.3), pytest.approx(0.2)),
        ("a", 25.0, 15.0),
    ]
    assert data.train.targets.tolist() == pytest.approx(np.array([[1, -1], [-1, 1]]), abs=1e-6)
    units = to_units(data.train.targets, output)
    assert units.tolist() == pytest.approx(np.array([[0.5, 10], [0.1, 40]]), abs=1e-6)


def test_targets_are_no_features(shelf: Shelf) -> None:
    spec = shelf.spec({"id": put(shelf), "target": ["a", "b"]}, split=ALL_TRAIN)
    assert shelf.load(spec).signature.inputs.model_dump()["names"] == ["x", "part", "c"]


def test_a_list_of_one_is_the_one(shelf: Shelf) -> None:
    dataset = put(shelf)
    one, several = (shelf.spec({"id": dataset, "target": target}) for target in ("a", ["a"]))
    assert several.model_dump_json() == one.model_dump_json()


def test_default_targets_are_those_of_the_upload(shelf: Shelf) -> None:
    spec = shelf.spec({"id": put(shelf, target=["b", "a"])}, split=ALL_TRAIN)
    assert spec.dataset.model_dump()["target"] == ["b", "a"]
    named = shelf.spec({"id": put(shelf, target=["b", "a"]), "target": "a"})
    assert named.dataset.model_dump()["target"] == "a"


def test_a_target_that_does_not_vary_is_not_scaled(shelf: Shelf) -> None:
    rows = ["x,a,b", *(f"{n},{2 * n},{5 if n else 6}" for n in range(20))]
    data = shelf.load(shelf.spec({"id": put(shelf, rows), "target": ["a", "b"]}, split=ALL_TRAIN))
    assert data.train.targets.isfinite().all()
    newest = {"validation": 0.5, "test": 0.0, "seed": 3}
    for split in (newest, newest | {"seed": 4}):
        data = shelf.load(shelf.spec({"id": put(shelf, rows), "target": ["a", "b"]}, split=split))
        assert isinstance(data.signature.output, Values)
        varies = 0.0 in data.train.inputs
        assert (data.signature.output.targets[1].scale == 1.0) != varies


@pytest.mark.parametrize(
    ("dataset", "loc", "message"),
    [
        ({"target": ["a", "c"]}, ("target", 1), "'c' is categorical, and several targets"),
        ({"target": ["a", "d"]}, ("target", 1), "there is no column 'd'; there are x, part, a"),
        ({"target": ["a", "b", "a"]}, ("target", 2), "names 'a' a second time"),
        ({"target": ["a", "b"], "task": "classification"}, ("task",), "name one target"),
        ({"target": ["a", "b"], "split_by": "b"}, ("split_by",), "is a target"),
        ({"target": ["a", "b"], "features": {"a": None}}, ("features",), "is a target column"),
    ],
)
def test_unfit_targets_are_refused(shelf: Shelf, dataset: Any, loc: Any, message: str) -> None:
    with pytest.raises(Invalid, match=message) as error:
        shelf.spec({"id": put(shelf)} | dataset)
    # A union of specs adds the tags of its members.
    steps = [step for step in error.value.loc if step not in ("upload", "several")]
    assert tuple(steps) == ("dataset", *loc)


def test_targets_that_no_row_has_together_are_refused(shelf: Shelf) -> None:
    rows = ["x,a,b", *(f"{n},{n if n % 2 else ''},{'' if n % 2 else n}" for n in range(10))]
    with pytest.raises(Invalid, match="no row has a value of every target") as error:
        shelf.spec({"id": put(shelf, rows), "target": ["a", "b"]})
    assert error.value.loc == ("dataset", "target")


def test_rows_without_one_are_counted_together(shelf: Shelf) -> None:
    request = TrainingRequest.model_validate(
        {"dataset": {"kind": "upload", "id": put(shelf), "target": ["a", "b"]}, "split": ALL_TRAIN}
    )
    spec = resolve(request, shelf)
    [warning] = job_warnings(request.dataset, spec.dataset, spec.split, shelf)
    assert (warning.kind, warning.column) == ("no_target", None)
    assert warning.message == (
        "'a', 'b' together lack a value in 2 of 4 rows; rows without a value of every target are "
        "left out"
    )


def test_each_skewed_target_is_warned_of(shelf: Shelf) -> None:
    values = np.random.default_rng(0).normal(size=(100, 2))
    rows = ["x,a,b", *(f"{n},{np.exp(2 * v)},{w}" for n, (v, w) in enumerate(values))]
    data = shelf.load(shelf.spec({"id": put(shelf, rows), "target": ["b", "a"]}))
    assert [(one.kind, one.column) for one in data.warnings] == [("skewed", "a")]


def test_a_matrix_of_an_npz_file_has_a_column_for_each_target(shelf: Shelf) -> None:
    x = np.arange(12.0).reshape(6, 2)
    y = np.stack([x.sum(1), x[:, 0] - 3 * x[:, 1]], 1)
    spec = shelf.spec({"id": shelf.put(npz(x=x, y=y)), "target": ["y_0", "y_1"]}, split=ALL_TRAIN)
    data = shelf.load(spec)
    output = data.signature.output
    assert isinstance(output, Values)
    assert to_units(data.train.targets, output).numpy() == pytest.approx(y, abs=1e-5)
    with pytest.raises(Invalid, match="no column 'y'; there are y_0, y_1; name these"):
        shelf.spec({"id": shelf.put(npz(x=x, y=y)), "target": "y"})


SYNTHETIC: dict[str, Any] = {
    "kind": "synthetic",
    "features": {"x": {"uniform": [0, 1]}},
    "size": 20,
}


def load(dataset: dict[str, Any]) -> torch.Tensor:
    spec = TrainingSpec.of({"dataset": SYNTHETIC | dataset, "split": ALL_TRAIN})
    return datasets.load(spec.dataset, spec.split, Path()).train.targets


def test_formulas_by_name_are_targets() -> None:
    both = load({"target": {"double": "2*x", "square": "x**2"}})
    assert both[:, :1].equal(load({"target": "2*x"}))
    assert both[:, 1:].equal(load({"target": "x**2"}))
    spec = TrainingSpec.of({"dataset": SYNTHETIC | {"target": {"double": "2*x", "square": "x"}}})
    assert spec == TrainingSpec.model_validate_json(spec.model_dump_json())


def test_noise_is_drawn_for_each_formula() -> None:
    noisy = load({"target": {"a": "x", "b": "x"}, "noise": 1.0, "size": 2000})
    plain = load({"target": {"a": "x", "b": "x"}, "size": 2000})
    noise = (noisy - plain).T.double()
    assert noise.std(1).tolist() == pytest.approx([1, 1], abs=0.05)
    assert abs(float(torch.corrcoef(noise)[0, 1])) < 0.1


def test_values_that_are_not_finite_name_their_formula() -> None:
    with pytest.raises(Invalid, match=r"the formula '1/\(x-x\)' is inf at x=") as error:
        load({"target": {"a": "x", "b": "1/(x-x)"}})
    assert error.value.loc == ("dataset", "target", "b")


def test_targets_count_in_the_size() -> None:
    many = {f"t{n}": "x" for n in range(12)}
    with pytest.raises(Invalid, match="over the limit of 100,000,000 values"):
        load({"target": many, "size": 10_000_000})
